"""The figure of PCM-Nets on pictures of several painters: a panel for what is changed, a line for each painter."""

from __future__ import annotations

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from evaluation.reports.painters import ABLATION, BASE, CAPTIONS, LABELS, OPTIONS, PAINTER, USUAL
from evaluation.reports.plots import BLUE, GRAY, GREEN, ORANGE, PINK, STYLE
from evaluation.reports.sweep_plots import Look, draw_lines

COLUMNS = 3
_PAINTERS = tuple(zip((BLUE, ORANGE, GREEN, PINK, GRAY), "os^Dv", strict=True))
_SKY, _BLACK = "#56B4E9", "#000000"  # of Okabe and Ito's colors, too, which no painter has
_ABLATION: dict[str, Look] = {
    ABLATION[BASE]: (GRAY, "o", "--"),
    ABLATION["pcm_mixup"]: (PINK, "s", "-"),
    ABLATION["pcm_cxe"]: (_SKY, "^", "-"),
    ABLATION[USUAL]: (_BLACK, "D", "-"),
}


def plot_painters(points: DataFrame, metric: str) -> Figure:
    """Panels of the metric: means over the seeds, ± one standard deviation.

    Args:
        points: a row per `PaintedPoint`, as `read_painters` gives them.
        metric: what the score is.

    Raises:
        ValueError: there is nothing to draw, or there are more than five painters.
    """
    levels = sorted(points["level"].unique())
    if len(levels) > len(_PAINTERS):
        raise ValueError(f"a figure can show at most {len(_PAINTERS)} painters, got {len(levels)}: give fewer")
    panels = panels_of(points)
    if not panels:
        raise ValueError("the comparisons change no option, and have neither several painters nor fewer captions")
    rows = -(-len(panels) // COLUMNS)
    columns = min(COLUMNS, len(panels))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * columns + 0.2, 2.9 * rows + 0.6), layout="constrained")
        grid = list(figure.subplots(rows, columns, squeeze=False).flat)
        for plot, panel in zip(grid, panels, strict=False):
            of_panel = points.loc[points["panel"] == panel]
            _draw_panel(
                plot, of_panel.assign(**{metric: points["score"], LABELS[panel]: points["value"]}), panel, metric
            )
        for plot in grid[len(panels) :]:
            plot.remove()
        options = [plot for plot, panel in zip(grid, panels, strict=False) if panel in OPTIONS]
        _same_heights(options)
        _painters_legend(figure, levels, with_base=CAPTIONS in panels and BASE in set(points["method"]))
    return figure


def panels_of(points: DataFrame) -> list[str]:
    """The panels with two values or more, in order."""
    several = points.groupby("panel")["value"].nunique() > 1
    return [panel for panel in LABELS if several.get(panel, False)]


def _draw_panel(plot: Axes, points: DataFrame, panel: str, metric: str) -> None:
    if panel == PAINTER:
        shown = points.assign(line=[ABLATION[method] for method in points["method"]])
        draw_lines(plot, shown, LABELS[panel], metric, "line", _ABLATION)
        plot.legend(frameon=False, fontsize=8)
        return
    names = [_name(level, method == BASE) for level, method in zip(points["level"], points["method"], strict=True)]
    looks = {
        _name(level, base): _look(n, base)
        for n, level in enumerate(sorted(points["level"].unique()))
        for base in (False, True)
    }
    draw_lines(plot, points.assign(line=names), LABELS[panel], metric, "line", looks)


def _name(level: float, base: bool) -> str:
    return f"{level:g}" + (", base" if base else "")


def _look(number: int, base: bool) -> Look:
    color, marker = _PAINTERS[number]
    return color, marker, "--" if base else "-"


def _same_heights(plots: list[Axes]) -> None:
    """Give plots of one metric the same axis, so that their lines can be compared."""
    for plot in plots[1:]:
        plot.sharey(plots[0])
    if plots:
        plots[0].autoscale(axis="y")


def _painters_legend(figure: Figure, levels: list[float], with_base: bool) -> None:
    """One line a painter above all panels."""
    lines = [
        Line2D([], [], color=color, marker=marker, markersize=5, linewidth=1.8)
        for color, marker in _PAINTERS[: len(levels)]
    ]
    names = [f"unfaithfulness {level:g}" for level in levels]
    if with_base:
        lines.append(Line2D([], [], color=GRAY, linestyle="--", linewidth=1.8))
        names.append("base")
    figure.legend(lines, names, loc="outside upper center", ncols=len(lines), frameon=False)
