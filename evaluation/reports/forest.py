"""Intervals one below another (a forest plot), drawn by `templates/forest.html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from matplotlib.ticker import MaxNLocator

from evaluation.reports.comparison_tables import of_seeds
from evaluation.reports.method_result import MethodResult

MOST_SERIES = 4  # colors and marks of templates/forest.html


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, and the points that it is the mean of, such as the values of the seeds."""

    value: float
    low: float
    high: float
    points: Sequence[float] = ()


@dataclass(frozen=True)
class Forest:
    """The content of a forest plot and the scale of its axis.

    Args:
        rows: {label: {series: Estimate}}, at most four series, such as decodings.
        level: a value to compare with, drawn through all rows.
        signed: values are differences.

    Raises:
        ValueError: more than four series.
    """

    title: str
    rows: Mapping[str, Mapping[str, Estimate]]
    level: float | None = None
    signed: bool = False

    def __post_init__(self):
        if len(self.series) > MOST_SERIES:
            raise ValueError(
                f"a forest plot can show at most {MOST_SERIES} series, got {len(self.series)}: {', '.join(self.series)}"
            )

    @cached_property
    def series(self) -> list[str]:
        """All series, in the order met."""
        return list(dict.fromkeys(name for estimates in self.rows.values() for name in estimates))

    @cached_property
    def ticks(self) -> list[float]:
        """Round values along the axis. The first and last are its ends."""
        drawn = [e for estimates in self.rows.values() for e in estimates.values()]
        ends = [value for e in drawn for value in (e.low, e.high, *e.points)]
        ends += [] if self.level is None else [self.level]
        return [float(tick) for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(min(ends), max(ends))]

    def position(self, value: float) -> float:
        """A value's place on the axis, from 0 to 1."""
        return (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])


def cider_forests(runs: Sequence[MethodResult], intervals: Sequence[Mapping]) -> list[Forest]:
    """CIDEr with its intervals, one mark per decoding, and the differences from the baseline, if any."""
    values: dict[str, dict[str, Estimate]] = {}
    differences: dict[str, dict[str, Estimate]] = {}
    for row in intervals:
        method, decoding = row["method"], row["decoding_name"]
        seeds = [run.cider for run in of_seeds(runs, method, decoding) if run.cider is not None]
        values.setdefault(method, {})[decoding] = Estimate(points=seeds if len(seeds) > 1 else (), **row["CIDEr"])
        if "difference" in row:
            seeds = row["per_seed"] if len(row["per_seed"]) > 1 else ()
            differences.setdefault(method, {})[decoding] = Estimate(row["difference"], row["low"], row["high"], seeds)
    forests = (
        [Forest("CIDEr of each method with its 95 % interval over images; ticks: seeds", values)] if values else []
    )
    if differences:
        baseline = next(row["baseline"] for row in intervals if "baseline" in row)
        title = f"Difference in CIDEr from {baseline} with its 95 % interval over images; ticks: seeds"
        forests.append(Forest(title, differences, level=0.0, signed=True))
    return forests
