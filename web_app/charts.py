"""The two charts of a way, as SVG whose ink is the page's text color, light or dark."""

from __future__ import annotations

import io
import re

import matplotlib
from matplotlib.figure import Figure

from embedding_space.media import Medium
from evaluation.reports.plots import BLUE, GRAY, GREEN, ORANGE, STYLE, plain_text
from web_app.way import Way

INK = "#010203"  # stands for the page's text color
ON_PAGE = {
    **STYLE, "svg.fonttype": "none", "svg.hashsalt": "way", "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": GRAY, "xtick.color": INK, "ytick.color": INK, "grid.color": GRAY, "grid.linewidth": 0.3,
    "legend.frameon": False, "font.family": "sans-serif",
}  # fmt: skip
SIZE = (5.0, 3.4)  # inches


def way_chart(way: Way) -> str:
    """The cosine to the final text after each step."""
    names, cosines = [stop.name for stop in way.stops], [stop.cosine for stop in way.stops]
    with matplotlib.rc_context(ON_PAGE):
        figure = Figure(figsize=SIZE, layout="constrained")
        plot = figure.subplots()
        plot.plot(range(len(names)), cosines, color=BLUE, marker="o", markersize=5, linewidth=1.8)
        shown = range(0, len(names), -(-len(names) // 8))  # as many names as there is room for
        plot.set_xticks(list(shown), [plain_text(names[n]) for n in shown], rotation=25, ha="right")
        plot.set_ylabel("cosine to the caption's embedding")
        plot.set_ylim(min(0.0, *cosines) - 0.02, 1.02)
        return _svg(figure, "Line chart of the cosine to the caption's embedding after each step")


def path_chart(way: Way, medium: Medium) -> str:
    """The path in the plane, among texts of the memory."""
    with matplotlib.rc_context(ON_PAGE):
        figure = Figure(figsize=SIZE, layout="constrained")
        plot = figure.subplots()
        if way.near:
            plot.scatter(*zip(*way.near, strict=True), s=9, color=GRAY, alpha=0.6, linewidths=0, label="near texts")
        across, up = zip(*(stop.place for stop in way.stops), strict=True)
        plot.plot(across, up, color=BLUE, marker="o", markersize=4, linewidth=1.5, label="the way")
        plot.scatter(across[:1], up[:1], s=60, marker="^", color=ORANGE, zorder=3, label=f"the {medium}")
        plot.scatter(*way.text, s=80, marker="*", color=GREEN, zorder=3, label="its caption")
        plot.set_xlabel("first component")
        plot.set_ylabel("second component")
        plot.set_aspect("equal", adjustable="datalim")
        figure.legend(loc="outside upper center", ncols=4, fontsize=9, columnspacing=1.0, handletextpad=0.4)
        return _svg(figure, f"Map of the way from the {medium} to its caption among near texts")


def _svg(figure: Figure, name: str) -> str:
    """An `<svg>` element that takes the page's width and ink, and has a name for screen readers."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    opening = re.sub(r' (width|height)="[^"]*"', "", text[: text.index(">")])
    return f'{opening} role="img" aria-label="{name}"{text[text.index(">") :]}'
