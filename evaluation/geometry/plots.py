"""Figures of `evaluation.geometry`. Each takes {state: its geometry}."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.geometry.analysis import Geometry
from evaluation.geometry.residuals import Gaussianity
from evaluation.geometry.sample import Cosines, Summary
from evaluation.reports.plots import BLUE, GRAY, GREEN, ORANGE, PINK, STYLE, footnote, legend_above

# Okabe and Ito's, each with a dash pattern, so that lines are distinct without colors as well.
LOOKS = (
    (BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PINK, ":"), ("#E69F00", (0, (5, 1))), ("#56B4E9", (0, (3, 1, 1, 1))),
    (GRAY, (0, (1, 1))), ("#000000", (0, (8, 3))),
)  # fmt: skip
# A modality has the same color in all figures, that of `evaluation.reports.plots.plot_clouds`.
KINDS = {"paired": (GREEN, "-"), "unpaired": (GRAY, ":"), "images": (ORANGE, "--"), "texts": (BLUE, "-.")}
GRAYS = ("#1A1A1A", "#808080", "#C4C4C4")  # beside lines whose colors distinguish states


def geometry_figures(states: Mapping[str, Geometry], note: str = "") -> dict[str, Figure]:
    """All figures that these states have data for, {file name without ending: figure}.

    Args:
        note: the data set, split and rows, printed small below each figure with whether it uses pairs.

    Raises:
        ValueError: more states than a figure can distinguish.
    """
    if len(states) > len(LOOKS):
        raise ValueError(f"a figure can show at most {len(LOOKS)} states, got {len(states)}")
    figures = {
        "summary": plot_summary(states),
        "cosines": plot_cosines(states),
        "gap_directions": plot_gap_directions(states),
        "gap_axes": plot_gap_axes(states),
        "spread": plot_spread(states),
    }
    paired = all(state.paired for state in states.values())
    if paired:
        figures["residuals"] = plot_residuals(states)
    for name, figure in figures.items():
        reads_pairs = paired and name in ("summary", "cosines", "gap_directions", "residuals")
        footnote(figure, origin(note, reads_pairs))
    return figures


def origin(note: str, uses_pairs: bool) -> str:
    """A footnote: the note, and whether the figure uses image-text pairs."""
    return "; ".join(filter(None, [note, "uses image-text pairs" if uses_pairs else "no pairs used"]))


def plot_summary(states: Mapping[str, Geometry]) -> Figure:
    """Each state's scalars: distances, cosines, separability, uniformity, CKA."""
    charts: list[tuple[str, dict[str, Callable[[Geometry], Any]]]] = [
        ("distance of the means", {"": lambda s: s.gap.distance_of_means}),
        ("linear classifier's accuracy", {
            "as they are": lambda s: s.separability.as_they_are,
            "centered": lambda s: s.separability.centred,
        }),
        ("uniformity (low: spread)", {
            name: lambda s, name=name: s.uniformity[name] for name in ("texts", "images")
        }),
    ]  # fmt: skip
    if all(state.paired for state in states.values()):
        charts += [
            ("mean cosine", {
                "of pairs": lambda s: s.cosines.paired.mean,
                "others": lambda s: s.cosines.unpaired.mean,
            }),
            ("length of pairs' gaps (± sd)", {"": lambda s: s.paired.gap.length}),
            ("linear CKA", {
                "pairs": lambda s: s.paired.cka.linear,
                "shuffled": lambda s: s.paired.cka.linear_shuffled,
            }),
        ]  # fmt: skip
    lines = len(charts) // 3
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "y"}):
        figure = Figure(figsize=(8.4, lines * (1.5 + 0.26 * len(states))), layout="constrained")
        for plot, (title, measures) in zip(figure.subplots(lines, 3, sharey=True).flat, charts, strict=True):
            _dots(plot, title, measures, states)
    return figure


def _dots(
    plot: Axes, title: str, measures: Mapping[str, Callable], states: Mapping[str, Geometry], colors=(BLUE, ORANGE)
) -> None:
    places = np.arange(len(states))
    for (name, measure), color, marker in zip(measures.items(), colors, ("o", "^"), strict=False):
        values = [measure(state) for state in states.values()]
        spreads = None
        if isinstance(values[0], Summary):
            values, spreads = [value.mean for value in values], [value.sd for value in values]
        look = {"color": color, "markersize": 6, "label": name, "capsize": 3}
        plot.errorbar(values, places, xerr=spreads, fmt=marker, **look)
    plot.set_yticks(places, list(states))
    plot.set_ylim(len(states) - 0.5, -0.5)
    plot.margins(x=0.12)
    plot.set_title(title, fontsize=10)
    plot.locator_params(axis="x", nbins=5)
    if len(measures) > 1:
        below = {"bbox_to_anchor": (0.5, 0), "borderaxespad": 2.8}  # of the axis' numbers, whatever the panel's height
        plot.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", **below)


def plot_cosines(states: Mapping[str, Geometry]) -> Figure:
    """Histograms of cosines within modalities and between them, one panel per state."""
    names = {"paired": "image and its text", "unpaired": "image and another text"}
    names |= {"image_image": "two images", "text_text": "two texts"}

    def draw(plot: Axes, state: Geometry) -> None:
        for (kind, label), look in zip(names.items(), KINDS.values(), strict=True):
            if (cosines := getattr(state.cosines, kind)) is not None:
                _histogram(plot, cosines, label, *look)

    return _panels(states, draw, "cosine", "share in 0.02")


def plot_gap_directions(states: Mapping[str, Geometry]) -> Figure:
    """Cosines of the gap to single pairs' gaps, and to differences within each modality, one panel per state.

    Titles have the gap's length and its angles to the images' and the texts' span.
    """

    def draw(plot: Axes, state: Geometry) -> None:
        if state.paired:
            _histogram(plot, state.paired.gap.cosine_to_mean_gap, "a pair's gap", *KINDS["paired"])
        for kind, measures in state.gap.orthogonality.items():
            _histogram(plot, measures.cosine_to_differences, f"two {kind}' difference", *KINDS[kind])
        plot.set_xlim(-1, 1)

    titled = {}
    for name, state in states.items():
        to_span = {kind: f"{o.angle_to_span_degrees:.0f}°" for kind, o in state.gap.orthogonality.items()}
        words = f"{to_span['images']} to images' span, {to_span['texts']} to texts'"
        titled[f"{name}\nlength {state.gap.distance_of_means:.3f}\n{words}"] = state
    return _panels(titled, draw, "cosine to the gap", "share in 0.02")


def plot_gap_axes(states: Mapping[str, Geometry]) -> Figure:
    """The gap along each principal axis of the variance within modalities, against the rows' sd on that axis."""
    least = 1e-5  # logarithmic axes have no zero
    axes = {name: np.array([state.gap.axes.sd, state.gap.axes.gap]) for name, state in states.items()}
    any_below = any((values < least).any() for values in axes.values())

    def draw(plot: Axes, values: np.ndarray) -> None:
        sd, gap = values.clip(min=least)
        below = (values < least).any(axis=0)
        plot.scatter(sd[~below], gap[~below], s=10, c=BLUE, alpha=0.6, linewidths=0)
        if any_below:
            plot.scatter(
                sd[below], gap[below], s=14, c=ORANGE, marker="v", linewidths=0, label="below 0.00001, drawn there"
            )
        limits = np.array([sd.min(), sd.max()])
        plot.plot(limits, limits, color=GRAY, linestyle="--", linewidth=1, label="gap = sd")
        plot.set_xscale("log")
        plot.set_yscale("log")

    return _panels(axes, draw, "sd of rows on an axis", "gap on that axis")


def plot_spread(states: Mapping[str, Geometry]) -> Figure:
    """How many leading directions hold the variance of images and of texts, and their effective dimensions."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.7), layout="constrained")
        plots = figure.subplots(1, 3, width_ratios=(1, 1, 0.8))
        for plot, kind in zip(plots, ("images", "texts"), strict=False):
            _cumulative(plot, {name: state.spread[kind].spectrum for name, state in states.items()})
            plot.set_title(kind)
        plots[0].set_ylabel("share of variance held")
        measures = {kind: lambda s, kind=kind: s.spread[kind].participation_ratio for kind in ("texts", "images")}
        _dots(plots[2], "participation ratio", measures, states, GRAYS)
        legend_above(figure, plots[0])
    return figure


def plot_residuals(states: Mapping[str, Geometry]) -> Figure:
    """Alignment noise: its sd in each dimension, cosines between residuals, leading directions, Gaussianity."""
    residuals = {name: state.paired.residuals for name, state in states.items() if state.paired}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 6.2), layout="constrained")
        sd, cosine, share, tests = figure.subplots(2, 2).flat
        for (name, of_state), (color, dashes) in zip(residuals.items(), LOOKS, strict=False):
            values = sorted(of_state.sd, reverse=True)
            sd.plot(range(1, len(values) + 1), values, color=color, linestyle=dashes, linewidth=1.8, label=name)
            _histogram(cosine, of_state.cosine, name, color, dashes)
        sd.set(xlabel="dimension, largest first", ylabel="sd of the residuals", ylim=(0, None))
        sd.set_title("alignment noise per dimension")
        isotropic = next(iter(residuals.values())).cosine.sd_if_isotropic
        cosine.axvspan(-isotropic, isotropic, color=GRAY, alpha=0.2, linewidth=0)
        cosine.set(xlabel="cosine (gray: ± sd of isotropic noise)", ylabel="share in 0.02")
        cosine.set_title("between two pairs' residuals")
        _cumulative(share, {name: of_state.spread.spectrum for name, of_state in residuals.items()})
        share.set(ylabel="share of variance held")
        share.set_title("residuals' leading directions")
        _tests(tests, {name: of_state.gaussianity for name, of_state in residuals.items()})
        legend_above(figure, sd)
    return figure


def plot_optimization(curves: Mapping[str, Mapping[float, Mapping[str, Sequence[float]]]]) -> Figure:
    """Loss and gap over the steps of contrastive training, one line per temperature and one row of panels per kind.

    Args:
        curves: {kind of rows: {temperature: {`loss`, `varying`, `constant`: values}}}, of `GapExperiment.sweep`.
    """
    titles = {
        "loss": "loss (nats)",
        "varying": "gap where rows vary",
        "constant": "gap where rows do not vary",
    }
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 2.5 * len(curves) + 0.9), layout="constrained")
        grid = figure.subplots(len(curves), 3, sharex=True, squeeze=False)
        for line, (kind, by_temperature) in zip(grid, curves.items(), strict=True):
            highest = max(max(run[name]) for run in by_temperature.values() for name in ("varying", "constant"))
            for plot, (name, title) in zip(line, titles.items(), strict=True):
                for (temperature, run), (color, dashes) in zip(by_temperature.items(), cycle(LOOKS), strict=False):
                    plot.plot(run[name], color=color, linestyle=dashes, linewidth=1.8, label=f"τ = {temperature:g}")
                plot.set_title(f"{kind}: {title}" if name == "loss" else title, fontsize=10)
                plot.set_xscale("symlog", linthresh=1)
                if name == "loss":
                    plot.set_yscale("log")
                else:
                    plot.set_ylim(0, 1.08 * highest)
        for plot in grid[-1]:
            plot.set_xlabel("step")
        legend_above(figure, grid[0, 0])
    return figure


def _tests(plot: Axes, states: Mapping[str, Gaussianity]) -> None:
    measures = {
        "K²": lambda s: s.dagostino and s.dagostino.share_rejected,
        "K², corrected": lambda s: s.dagostino and s.dagostino.share_rejected_benjamini_hochberg,
        "Anderson-Darling": lambda s: s.anderson_darling and s.anderson_darling.share_rejected,
    }
    places = np.arange(len(states))
    for n, ((label, measure), color) in enumerate(zip(measures.items(), GRAYS, strict=True)):
        shares = [100 * (measure(state) or 0) for state in states.values()]
        plot.barh(places + (n - 1) * 0.26, shares, height=0.24, color=color, label=label)
    plot.axvline(5, color=ORANGE, linestyle="--", linewidth=1.2)
    plot.set_yticks(places, list(states), fontsize=8)
    plot.set_ylim(len(states) - 0.5, -0.5)
    plot.set(xlim=(0, 100), xlabel="% of dimensions rejected (dashed: 5 %)")
    plot.set_title("tests of Gaussianity")
    plot.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.4, 0), borderaxespad=4.8)


def _cumulative(plot: Axes, spectra: Mapping[str, Sequence[float]]) -> None:
    for (name, spectrum), (color, dashes) in zip(spectra.items(), LOOKS, strict=False):
        held = np.cumsum(spectrum) / max(np.sum(spectrum), 1e-30)
        plot.plot(range(1, len(held) + 1), held, color=color, linestyle=dashes, linewidth=1.8, label=name)
    plot.set_xscale("log")
    plot.set(xlabel="leading directions", ylim=(0, 1.02))


def _histogram(plot: Axes, cosines: Cosines, label: str, color: str, dashes) -> None:
    shares = np.array(cosines.histogram)
    middles = (np.arange(len(shares)) + 0.5) * 2 / len(shares) - 1
    filled = np.flatnonzero(shares > 0)
    shown = slice(max(filled.min() - 1, 0), filled.max() + 2)
    # A line through the bins' middles, since the corners of steps would break up the dashes.
    look = {"color": color, "linestyle": dashes, "linewidth": 1.6, "label": label}
    plot.plot(middles[shown], shares[shown], **look)[0].sticky_edges.y.append(0)


def _panels(states: Mapping, draw: Callable[[Axes, Any], None], x: str, y: str, columns: int = 3) -> Figure:
    """One panel per state on the same axes, at most `columns` side by side, with one legend for all."""
    columns = min(columns, len(states))
    lines = -(-len(states) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.8 * max(columns, 2), 2.5 * lines + 1.1), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for plot in grid.flat[len(states) :]:
            plot.remove()
        for n, (plot, (title, state)) in enumerate(zip(grid.flat, states.items(), strict=False)):
            draw(plot, state)
            plot.set_title(title, fontsize=10)
            if n % columns == 0:
                plot.set_ylabel(y)
            if n + columns >= len(states):
                plot.set_xlabel(x)
                plot.tick_params(labelbottom=True)
        legend_above(figure, grid[0, 0])
    return figure
