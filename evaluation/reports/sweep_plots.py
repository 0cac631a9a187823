"""A metric against an option that was swept: lines for one option, a heat map for two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle
from numbers import Number

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from evaluation.reports.plots import BLUE, GREEN, ORANGE, PINK, STYLE, legend_above

Value = float | int | str
Look = tuple[str, str, str]  # color, marker and dashes of a line
_LOOKS: list[Look] = [
    (c, m, d)
    for markers in ("os^D", "vPX*")
    for d in ("-", "--", ":")
    for c, m in zip((BLUE, ORANGE, GREEN, PINK), markers, strict=True)
]


def in_order(values: Iterable[Value]) -> pd.Categorical:
    """Values as ordered categories: numbers by size, then words in the order met."""
    values = list(values)
    distinct = list(dict.fromkeys(values))
    numbers = sorted(value for value in distinct if _is_number(value))
    order = numbers + [value for value in distinct if not _is_number(value)]
    return pd.Categorical(values, categories=order, ordered=True)


def plot_lines(runs: pd.DataFrame, option: str, metric: str, lines: str | None = None) -> Figure:
    """The metric against an option, as `draw_lines` draws it, with a legend."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 4.0), layout="constrained")
        plot = figure.subplots()
        draw_lines(plot, runs, option, metric, lines)
        if lines and runs[lines].nunique() > 1:
            legend_above(figure, plot)
    return figure


def draw_lines(
    plot: Axes,
    runs: pd.DataFrame,
    option: str,
    metric: str,
    lines: str | None = None,
    looks: Mapping[str, Look] | None = None,
) -> None:
    """Draw the metric against an option: means over the seeds, ± one standard deviation.

    Numbers are at their places, on a logarithmic axis if the largest is at least 20 times the smallest; a 0 is then at
    its left, as far as the axis is from linear. Words are side by side.

    Args:
        plot: where.
        runs: one row per run.
        option: the column of the option.
        metric: the column of the metric.
        lines: the column of the lines' names; None for one line.
        looks: of the lines by their names; by default the house's, in order, of which there are 24: more lines take
            them again.
    """
    runs = runs.assign(**{option: in_order(runs[option])})
    groups = runs.groupby(lines, sort=False, observed=True) if lines else [(metric, runs)]
    by_line = {str(name): line for name, line in groups}
    looks = looks or dict(zip(by_line, cycle(_LOOKS), strict=False))
    values = runs[option].cat.categories.tolist()
    numeric = all(_is_number(value) for value in values)
    places = {value: value if numeric else n for n, value in enumerate(values)}
    several = runs.duplicated([option, lines] if lines else [option]).any()
    for name, line in by_line.items():
        color, marker, dashes = looks[name]
        points = line.groupby(option, observed=True)[metric].agg(["mean", "std"])
        spread = np.nan_to_num(points["std"]) if several else None
        plot.errorbar(
            [places[value] for value in points.index], points["mean"], spread,
            color=color, marker=marker, linestyle=dashes, markersize=5, linewidth=1.8, capsize=3, label=name,
        )  # fmt: skip
    above_0 = [value for value in values if value != 0] if numeric else []
    if above_0 and above_0[0] > 0 and above_0[-1] >= 20 * above_0[0]:
        with_0 = len(above_0) < len(values)
        plot.set_xscale("symlog", linthresh=above_0[0]) if with_0 else plot.set_xscale("log")
        plot.xaxis.set_minor_locator(NullLocator())
    if len(values) <= 12:
        plot.set_xticks([places[value] for value in values], [shown(value) for value in values])
    plot.set_xlabel(option)
    plot.set_ylabel(metric)


def plot_heat_map(means: pd.DataFrame, metric: str) -> Figure:
    """The metric for each pair of values.

    Args:
        means: one option downwards, another to the right, as made by `pivot_table`; NaN stays empty.
        metric: name of the values.
    """
    values = means.to_numpy(dtype=float)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(2.2 + 0.85 * values.shape[1], 1.5 + 0.55 * values.shape[0]), layout="constrained")
        plot = figure.subplots()
        picture = plot.imshow(values, cmap="cividis", aspect="auto")
        middle = 0.55 * np.nanmin(values) + 0.45 * np.nanmax(values)  # as far from black as from white in cividis
        for row, column in np.argwhere(np.isfinite(values)):
            value = values[row, column]
            color = "white" if value <= middle else "black"
            number = f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
            plot.text(column, row, number, ha="center", va="center", color=color)
        plot.set_xticks(range(len(means.columns)), map(shown, means.columns))
        plot.set_yticks(range(len(means)), map(shown, means.index))
        plot.set_ylabel(str(means.index.name))
        plot.set_xlabel(str(means.columns.name))
        plot.spines[:].set_visible(False)
        figure.colorbar(picture, label=metric).outline.set_visible(False)
    return figure


def _is_number(value: Value) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def shown(value: Value) -> str:
    """A value as axes and tables have it."""
    return f"{value:g}" if _is_number(value) else str(value)
