"""Figures of the report and the README. Colors are Okabe and Ito's, which color-blind people can distinguish."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from torch import Tensor

from common.randomness import evenly_spaced
from embedding_space.media import Medium

BLUE, ORANGE, GREEN, PINK, GRAY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6B6B6B"
_COLORS = (BLUE, ORANGE, GREEN, PINK)
_MARKERS = ("o", "s", "^", "D")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
}


def plot_embedding_pca(
    panels: Mapping[str, tuple[Tensor, Tensor]], points: int = 600, medium: Medium = "image"
) -> Figure:
    """Texts and images on two principal axes, one panel per stage, such as before and after centering and bridging.

    Axes are fitted to the first panel only, so that the raw gap stays visible; axes fitted to all panels would hide it.

    Args:
        panels: {title: (texts (N, D), images (M, D))}, rows as the decoder would get them at that stage.
        points: the most rows drawn per modality, evenly spaced.
        medium: names the images in the legend.

    Raises:
        ValueError: there is no panel, or D differs.
    """
    dims = {rows.shape[1] for pair in panels.values() for rows in pair}
    if len(dims) != 1:
        raise ValueError(f"all panels must have embeddings of one dimension, got {sorted(dims)}")
    drawn = {title: [subsample(rows, points).float().cpu() for rows in pair] for title, pair in panels.items()}
    title, first = next(iter(drawn.items()))
    pca = PCA(2, svd_solver="full").fit(torch.cat(first))

    def place(rows: Tensor) -> Tensor:
        return torch.from_numpy(pca.transform(rows))

    places = {title: (place(texts), place(images)) for title, (texts, images) in drawn.items()}
    of = title.partition("\n")[0]
    names = [f"axis {n + 1}: {share:.0%} of variance in {of}" for n, share in enumerate(pca.explained_variance_ratio_)]
    return plot_clouds(places, names, share_axes=True, medium=medium)


def plot_clouds(
    panels: Mapping[str, tuple[Tensor, Tensor]],
    axes: Sequence[str],
    share_axes: bool,
    columns: int = 4,
    medium: Medium = "image",
) -> Figure:
    """Texts and images in the plane, one panel per title.

    Args:
        panels: {title: (texts (N, 2), images (M, 2))}.
        axes: names of the two axes.
        share_axes: whether all panels have the same axes.
        columns: the most panels side by side.
        medium: names the images in the legend.
    """
    lines = -(-len(panels) // columns)
    columns = -(-len(panels) // lines)
    tall = 1.0
    if share_axes:  # panels of the data's shape leave no empty space beside them
        least, most = torch.cat([rows for pair in panels.values() for rows in pair]).aminmax(dim=0)
        width, height = (most - least).clamp(min=1e-30).tolist()
        tall = min(max(height / width, 0.6), 1.6)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * columns + 0.6, (3.0 * tall + 0.7) * lines + 0.6), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=share_axes, sharey=share_axes, squeeze=False)
        for plot in grid.flat[len(panels) :]:
            plot.remove()
        for plot, (title, (texts, images)) in zip(grid.flat, panels.items(), strict=False):
            for rows, color, marker, label in ((texts, BLUE, "o", "texts"), (images, ORANGE, "^", f"{medium}s")):
                look = {"c": color, "marker": marker, "alpha": 0.45, "linewidths": 0, "rasterized": True}
                plot.scatter(*rows.T, s=9, label=label, **look)
            plot.set_title(title, fontsize=10)
            plot.set_aspect("equal", adjustable="box" if share_axes else "datalim")
            plot.locator_params(axis="x", nbins=5)
        for n, plot in enumerate(grid.flat[: len(panels)]):
            if n % columns == 0:
                plot.set_ylabel(axes[1])
            if n + columns >= len(panels):
                plot.set_xlabel(axes[0])
                plot.tick_params(labelbottom=True)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, markerscale=2)
        for handle in legend.legend_handles:
            handle.set_alpha(1)  # pyright: ignore[reportOptionalMemberAccess]
    return figure


def plot_cosine_against_timestep(
    timesteps: Sequence[int],
    cosines: Mapping[str, Sequence[float]],
    baselines: Mapping[str, float],
    medium: Medium = "image",
) -> Figure:
    """Cosine of bridged images to their texts against the diffusion timestep at which they enter the bridge.

    Args:
        timesteps: (K,).
        cosines: {name: (K,)}, at most four lines.
        baselines: {name: cosine}, dashed levels, such as the centered images without a bridge.
        medium: names the images on the axis.

    Raises:
        ValueError: a line has another length, or there are too many lines.
    """
    for name, values in cosines.items():
        if len(values) != len(timesteps):
            raise ValueError(f"{name!r} has {len(values)} cosines for {len(timesteps)} timesteps")
    if len(cosines) > len(_COLORS):
        raise ValueError(f"a figure can show at most {len(_COLORS)} lines, got {len(cosines)}")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        plot = figure.subplots()
        for (name, values), color, marker in zip(cosines.items(), _COLORS, _MARKERS, strict=False):
            plot.plot(timesteps, values, color=color, marker=marker, markersize=5, linewidth=1.8, label=name)
        for (name, level), dashes in zip(baselines.items(), ("--", ":", "-."), strict=False):
            plot.axhline(level, color=GRAY, linestyle=dashes, linewidth=1.4, label=f"{name} ({level:.2f})")
        plot.set_xlabel(f"timestep t at which the {medium} enters the bridge")
        plot.set_ylabel("mean cosine to its texts")
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def footnote(figure: Figure, words: str) -> None:
    """Write small words below a figure, such as its data set and number of rows."""
    width = int(17 * figure.get_figwidth())  # letters of this size
    figure.supxlabel(plain_text(textwrap.fill(words, width)), fontsize=8, color=GRAY)


def legend_above(figure: Figure, plot: Axes) -> None:
    """Draw one legend of this plot's lines above the whole figure, at most four side by side.

    It is read line by line; matplotlib's runs down its columns.
    """
    handles, labels = plot.get_legend_handles_labels()
    for columns in range(4, 1, -1):
        letters = sum(max(map(len, labels[n::columns]), default=0) for n in range(columns))
        if 0.075 * letters + 0.65 * columns <= figure.get_figwidth():  # inches
            break
    else:
        columns = 1
    columns = -(-len(labels) // -(-len(labels) // columns))
    order = [n for column in range(columns) for n in range(column, len(labels), columns)]
    shown = [handles[n] for n in order], [labels[n] for n in order]
    figure.legend(*shown, loc="outside upper center", ncols=columns, frameon=False)


def save_plot(figure: Figure, folder: str | Path, name: str) -> None:
    """Write `name.png` and `name.svg` in `folder`, with letters as outlines, the same on every machine."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.fonttype": "path"}):
        figure.savefig(Path(folder) / f"{name}.png", dpi=130)
        figure.savefig(Path(folder) / f"{name}.svg", dpi=200, metadata={"Date": None})


def subsample(rows: Tensor, points: int) -> Tensor:
    """At most `points` rows, evenly spaced."""
    return rows[evenly_spaced(len(rows), points, nearest=True)]


def plain_text(text: str) -> str:
    """Text as a figure shows it letter by letter."""
    return text.replace("$", r"\$")  # matplotlib reads a pair of them as mathematics
