"""A figure against an option that was swept: lines for one option, a heat map for two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from statistics import fmean, stdev

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from evaluation.reports.plots import BLUE, GREEN, ORANGE, PINK, STYLE, legend_above

Value = float | int | str | None
_LOOKS = [(c, m, d) for d in ("-", "--", ":") for c, m in zip((BLUE, ORANGE, GREEN, PINK), "os^D", strict=True)]


def in_order(values: Sequence[Value]) -> list[Value]:
    """Distinct values: numbers by size, then words in the order met."""
    distinct = list(dict.fromkeys(values))
    numbers = [value for value in distinct if _is_number(value)]
    return sorted(numbers) + [value for value in distinct if not _is_number(value)]


def plot_lines(lines: Mapping[str, Mapping[Value, Sequence[float]]], option: str, figure_name: str) -> Figure:
    """A line for each name, {value of the option: the figure of each seed}: means, with ± a standard deviation.

    Numbers stand at their places, on a logarithmic axis where the largest is 20 times the smallest or more; words side
    by side. Raises ValueError for more than twelve lines.
    """
    if len(lines) > len(_LOOKS):
        raise ValueError(f"at most {len(_LOOKS)} lines can be told apart, got {len(lines)}: {', '.join(lines)}")
    values = in_order([value for line in lines.values() for value in line])
    numeric = all(_is_number(value) for value in values)
    places = {value: value if numeric else n for n, value in enumerate(values)}
    several = any(len(found) > 1 for line in lines.values() for found in line.values())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 4.0), layout="constrained")
        plot = figure.subplots()
        for (name, line), (colour, marker, dashes) in zip(lines.items(), _LOOKS, strict=False):
            own = [value for value in values if value in line]
            plot.errorbar(
                [places[value] for value in own],
                [fmean(line[value]) for value in own],
                [stdev(line[value]) if len(line[value]) > 1 else 0 for value in own] if several else None,
                color=colour, marker=marker, linestyle=dashes, markersize=5, linewidth=1.8, capsize=3, label=name,
            )  # fmt: skip
        if numeric and values[0] > 0 and values[-1] >= 20 * values[0]:
            plot.set_xscale("log")
            plot.xaxis.set_minor_locator(NullLocator())
        if len(values) <= 12:
            plot.set_xticks([places[value] for value in values], [_shown(value) for value in values])
        plot.set_xlabel(option)
        plot.set_ylabel(figure_name)
        if len(lines) > 1:
            legend_above(figure, plot)
    return figure


def plot_heat_map(grid: Mapping[tuple[Value, Value], float], options: tuple[str, str], figure_name: str) -> Figure:
    """The figure for each pair of values, {(first, second): figure}: the first option downwards, the second to the
    right; a pair that is not there stays empty."""
    rows, columns = (in_order([pair[n] for pair in grid]) for n in range(2))
    values = np.array([[grid.get((row, column), np.nan) for column in columns] for row in rows], dtype=float)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(2.2 + 0.85 * len(columns), 1.5 + 0.55 * len(rows)), layout="constrained")
        plot = figure.subplots()
        picture = plot.imshow(values, cmap="cividis", aspect="auto")
        middle = 0.55 * np.nanmin(values) + 0.45 * np.nanmax(values)  # as far from black as from white in cividis
        for row, column in np.argwhere(np.isfinite(values)):
            value = values[row, column]
            colour = "white" if value <= middle else "black"
            plot.text(column, row, _figure(value), ha="center", va="center", color=colour)
        plot.set_xticks(range(len(columns)), [_shown(value) for value in columns])
        plot.set_yticks(range(len(rows)), [_shown(value) for value in rows])
        plot.set_ylabel(options[0])
        plot.set_xlabel(options[1])
        plot.spines[:].set_visible(False)
        figure.colorbar(picture, label=figure_name).outline.set_visible(False)
    return figure


def _is_number(value: Value) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def _shown(value: Value) -> str:
    return f"{value:g}" if _is_number(value) else str(value)


def _figure(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
