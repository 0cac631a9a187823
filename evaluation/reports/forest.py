"""Intervals drawn one under another (a forest plot), as an SVG that takes the page's colours and width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.ticker import MaxNLocator

_LABEL, _LINE, _GAP, _AXIS = 20, 20, 10, 26  # pixels of height
_TRACK = 60  # per cent of the width; the figures stand to the right of it, on phones, too
_MARKS = ("M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z", "M-4-4H4V4H-4Z", "M0-5.5L5 4H-5Z", "M0-5.5L5 0L0 5.5L-5 0Z")


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; points: what it is the mean of, such as the values of the seeds."""

    value: float
    low: float
    high: float
    points: Sequence[float] = ()


@dataclass(frozen=True)
class Forest:
    """rows: {label: {series: Estimate}}, at most four series, such as decodings. level: a value to compare with, drawn
    through all rows. signed: values are differences."""

    title: str
    rows: Mapping[str, Mapping[str, Estimate]]
    level: float | None = None
    signed: bool = False

    @property
    def series(self) -> list[str]:
        return list(dict.fromkeys(name for estimates in self.rows.values() for name in estimates))

    def svg(self) -> str:
        """The drawing; positions along the axis are shares of the width, so that it fits any page without scaling.

        Raises ValueError for more than four series.
        """
        series = self.series
        if len(series) > len(_MARKS):
            raise ValueError(f"at most {len(_MARKS)} series can be told apart, got {len(series)}: {', '.join(series)}")
        drawn = [e for estimates in self.rows.values() for e in estimates.values()]
        ends = [value for e in drawn for value in (e.low, e.high, *e.points)]
        ends += [] if self.level is None else [self.level]
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(min(ends), max(ends))
        low, high = ticks[0], ticks[-1]

        def x(value: float) -> str:
            return f"{1 + (_TRACK - 2) * (value - low) / (high - low):.2f}%"

        height = sum(_LABEL + _LINE * len(estimates) + _GAP for estimates in self.rows.values())
        parts = [f'<line class="rule" x1="{x(t)}" x2="{x(t)}" y1="0" y2="{height}"/>' for t in ticks]
        places = [f"{t:g}" for t in ticks]
        parts += [
            f'<text class="tick" x="{x(t)}" y="{height + 17}">{place}</text>'
            for t, place in zip(ticks, places, strict=True)
        ]
        if self.level is not None:
            parts.append(f'<line class="level" x1="{x(self.level)}" x2="{x(self.level)}" y1="0" y2="{height}"/>')
        y = 0
        for label, estimates in self.rows.items():
            parts.append(f'<text class="label" x="0" y="{y + 15}">{escape(label)}</text>')
            y += _LABEL
            for name, estimate in estimates.items():
                parts.append(self._estimate(estimate, series.index(name), x, y + _LINE // 2))
                y += _LINE
            y += _GAP
        body = "\n".join(parts)
        return (
            f'<svg class="forest" role="img" aria-label="{escape(self.title, quote=True)}" width="100%" '
            f'height="{height + _AXIS}">\n{body}\n</svg>'
        )

    def legend(self) -> str:
        """The series' marks and names; nothing where there is one series."""
        if len(self.series) < 2:
            return ""
        items = "".join(
            f'<li><svg class="s{n}" width="14" height="14" aria-hidden="true"><path transform="translate(7 7)" '
            f'd="{_MARKS[n]}"/></svg>{escape(name)}</li>'
            for n, name in enumerate(self.series)
        )
        return f'<ul class="legend">{items}</ul>'

    def _estimate(self, estimate: Estimate, mark: int, x, y: int) -> str:
        number = "{:+.1f}" if self.signed else "{:.1f}"
        value, low, high = (number.format(part) for part in (estimate.value, estimate.low, estimate.high))
        points = "".join(
            f'<line class="point" x1="{x(p)}" x2="{x(p)}" y1="{y - 5}" y2="{y + 5}"/>' for p in estimate.points
        )
        return (
            f'<g class="s{mark}"><line class="interval" x1="{x(estimate.low)}" x2="{x(estimate.high)}" y1="{y}" '
            f'y2="{y}"/>{points}<svg x="{x(estimate.value)}" y="{y}" overflow="visible"><path d="{_MARKS[mark]}"/>'
            f'</svg><text class="figure" x="100%" y="{y + 4}">{value} [{low}, {high}]</text></g>'
        )


def cider_forests(runs: Sequence[Mapping], intervals: Sequence[Mapping]) -> list[Forest]:
    """CIDEr with its intervals, a mark for each decoding; and the differences from the baseline, where there is one."""
    values: dict[str, dict[str, Estimate]] = {}
    differences: dict[str, dict[str, Estimate]] = {}
    for row in intervals:
        method, decoding = row["method"], row["decoding_name"]
        seeds = [run["metrics"]["CIDEr"] for run in runs if (run["method"], run["decoding_name"]) == (method, decoding)]
        values.setdefault(method, {})[decoding] = Estimate(points=seeds if len(seeds) > 1 else (), **row["CIDEr"])
        if "difference" in row:
            seeds = row["per_seed"] if len(row["per_seed"]) > 1 else ()
            differences.setdefault(method, {})[decoding] = Estimate(row["difference"], row["low"], row["high"], seeds)
    found = [Forest("CIDEr of each method with its 95 % interval over images; ticks: seeds", values)] if values else []
    if differences:
        baseline = next(row["baseline"] for row in intervals if "baseline" in row)
        title = f"Difference in CIDEr from {baseline} with its 95 % interval over images; ticks: seeds"
        found.append(Forest(title, differences, level=0.0, signed=True))
    return found
