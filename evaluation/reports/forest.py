"""Intervals one below another (a forest plot), drawn by `templates/forest.html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from matplotlib.ticker import MaxNLocator

from evaluation.reports.comparison_result import ComparisonResult
from evaluation.reports.comparison_tables import of_seeds
from evaluation.reports.statistics import Interval, PairedComparison

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


def cider_forests(comparison: ComparisonResult) -> list[Forest]:
    """CIDEr with its intervals, one mark per decoding, and the differences from the baseline, if any."""
    values: dict[str, dict[str, Estimate]] = {}
    differences: dict[str, dict[str, Estimate]] = {}
    for interval in comparison.intervals:
        method, decoding, cider = interval.method, interval.decoding_name, interval.cider
        seeds = [run.cider for run in of_seeds(comparison.runs, method, decoding) if run.cider is not None]
        values.setdefault(method, {})[decoding] = _estimate(cider.value, cider, seeds)
        if less := interval.comparison:
            differences.setdefault(method, {})[decoding] = _estimate(less.difference, less, less.per_seed)
    over = f"with its 95 % interval over {comparison.medium}s; ticks: seeds"
    forests = [Forest(f"CIDEr of each method {over}", part) for part in in_parts(values)]
    title = f"Difference in CIDEr from {comparison.baseline} {over}"
    return forests + [Forest(title, part, level=0.0, signed=True) for part in in_parts(differences)]


def in_parts(rows: Mapping[str, Mapping[str, Estimate]]) -> list[dict[str, dict[str, Estimate]]]:
    """The rows of as many plots as it takes, each with at most `MOST_SERIES` of the series."""
    series = list(dict.fromkeys(name for estimates in rows.values() for name in estimates))
    parts = [series[start : start + MOST_SERIES] for start in range(0, len(series), MOST_SERIES)]
    chosen = [{label: {n: of[n] for n in part if n in of} for label, of in rows.items()} for part in parts]
    return [{label: of for label, of in part.items() if of} for part in chosen]


def _estimate(value: float, interval: Interval | PairedComparison, seeds: Sequence[float]) -> Estimate:
    return Estimate(value, interval.low, interval.high, seeds if len(seeds) > 1 else ())
