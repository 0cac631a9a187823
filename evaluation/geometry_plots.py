"""Figures of `embedding_space.geometry`: each takes {state: what `analyze` gave}, as it stands in geometry.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.plots import BLUE, GREEN, GREY, ORANGE, PINK, STYLE

# Okabe and Ito's, and a dash pattern each, so that lines can be told apart without colours, too.
LOOKS = (
    (BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PINK, ":"), ("#E69F00", (0, (5, 1))), ("#56B4E9", (0, (3, 1, 1, 1))),
    (GREY, (0, (1, 1))), ("#000000", (0, (8, 3))),
)  # fmt: skip
PAIRS = "uses image-text pairs"


def geometry_figures(states: Mapping[str, dict], note: str = "") -> dict[str, Figure]:
    """All figures that these states have data for, {file name without ending: figure}.

    note: what is shown (data set, split, rows), printed small below each; figures that read pairs say so themselves.
    Raises ValueError when there are more states than can be told apart.
    """
    if len(states) > len(LOOKS):
        raise ValueError(f"at most {len(LOOKS)} states can be told apart in one figure, got {len(states)}")
    figures = {
        "summary": plot_summary(states),
        "cosines": plot_cosines(states),
        "gap_directions": plot_gap_directions(states),
        "gap_axes": plot_gap_axes(states),
        "spread": plot_spread(states),
    }
    paired = all(state["paired"] for state in states.values())
    if paired:
        figures["residuals"] = plot_residuals(states)
    for name, figure in figures.items():
        reads_pairs = paired and name in ("summary", "cosines", "gap_directions", "residuals")
        words = "; ".join(filter(None, [note, PAIRS if reads_pairs else "no pairs used"]))
        figure.supxlabel(words, fontsize=8, color=GREY)
    return figures


def plot_summary(states: Mapping[str, dict]) -> Figure:
    """What each state has in one number: distances, cosines, separability, uniformity, CKA."""
    charts: list[tuple[str, dict[str, Callable[[dict], float]]]] = [
        ("distance of the means", {"": lambda s: s["gap"]["distance_of_means"]}),
        ("linear classifier's accuracy", {
            "as they are": lambda s: s["separability"]["as_they_are"],
            "centred": lambda s: s["separability"]["centred"],
        }),
        ("uniformity (low: spread)", {
            name: lambda s, name=name: s["uniformity"][name] for name in ("images", "texts")
        }),
    ]  # fmt: skip
    if all(state["paired"] for state in states.values()):
        charts += [
            ("mean cosine", {
                "of pairs": lambda s: s["cosines"]["paired"]["mean"],
                "others": lambda s: s["cosines"]["unpaired"]["mean"],
            }),
            ("length of pairs' gaps (± sd)", {"": lambda s: s["paired"]["gap"]["length"]}),
            ("linear CKA", {
                "pairs": lambda s: s["paired"]["cka"]["linear"],
                "shuffled": lambda s: s["paired"]["cka"]["linear_shuffled"],
            }),
        ]  # fmt: skip
    lines = len(charts) // 3
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "y"}):
        figure = Figure(figsize=(8.4, lines * (1.5 + 0.26 * len(states))), layout="constrained")
        for plot, (title, measures) in zip(figure.subplots(lines, 3, sharey=True).flat, charts, strict=True):
            _dots(plot, title, measures, states)
    return figure


def _dots(plot: Axes, title: str, measures: Mapping[str, Callable], states: Mapping[str, dict]) -> None:
    places = np.arange(len(states))
    for (name, measure), colour, marker in zip(measures.items(), (BLUE, ORANGE), ("o", "^"), strict=False):
        found = [measure(state) for state in states.values()]
        spreads = None
        if isinstance(found[0], Mapping):
            found, spreads = [f["mean"] for f in found], [f["sd"] for f in found]
        look = {"color": colour, "markersize": 6, "label": name, "capsize": 3}
        plot.errorbar(found, places, xerr=spreads, fmt=marker, **look)
    plot.set_yticks(places, list(states))
    plot.set_ylim(len(states) - 0.5, -0.5)
    plot.margins(x=0.12)
    plot.set_title(title, fontsize=10)
    plot.locator_params(axis="x", nbins=5)
    if len(measures) > 1:
        plot.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def plot_cosines(states: Mapping[str, dict]) -> Figure:
    """Histograms of cosines within modalities and between them, a panel a state."""
    names = {"paired": "image and its text", "unpaired": "image and another text"}
    names |= {"image_image": "two images", "text_text": "two texts"}

    def draw(plot: Axes, state: dict) -> None:
        for (key, label), (colour, dashes) in zip(names.items(), LOOKS, strict=False):
            if key in state["cosines"]:
                _histogram(plot, state["cosines"][key], label, colour, dashes)

    return _panels(states, draw, "cosine", "share in 0.02")


def plot_gap_directions(states: Mapping[str, dict]) -> Figure:
    """Cosines of the gap to single pairs' gaps, and to differences within each modality, a panel a state; in the titles
    its length and its angles to the images' and the texts' span."""

    def draw(plot: Axes, state: dict) -> None:
        orthogonality = state["gap"]["orthogonality"]
        shown = {
            "a pair's own gap": state["paired"] and state["paired"]["gap"]["cosine_to_mean_gap"],
            "two images' difference": orthogonality["images"]["cosine_to_differences"],
            "two texts' difference": orthogonality["texts"]["cosine_to_differences"],
        }
        for (label, cosines), (colour, dashes) in zip(shown.items(), LOOKS, strict=False):
            if cosines:
                _histogram(plot, cosines, label, colour, dashes)
        plot.set_xlim(-1, 1)

    titled = {}
    for name, state in states.items():
        angles = " / ".join(f"{o['angle_to_span_degrees']:.0f}°" for o in state["gap"]["orthogonality"].values())
        titled[f"{name}\nlength {state['gap']['distance_of_means']:.3f}, to spans {angles}"] = state
    return _panels(titled, draw, "cosine to the gap", "share in 0.02")


def plot_gap_axes(states: Mapping[str, dict]) -> Figure:
    """The gap along each principal axis of the variance within modalities, against the rows' sd on that axis."""

    def draw(plot: Axes, state: dict) -> None:
        axes = state["gap"]["axes"]
        sd, gap = np.array(axes["sd"]), np.array(axes["gap"])
        least = 1e-5  # logarithmic axes have no zero
        sd, gap = sd.clip(min=least), gap.clip(min=least)
        plot.scatter(sd, gap, s=10, c=BLUE, alpha=0.6, linewidths=0)
        limits = np.array([sd.min(), sd.max()])
        plot.plot(limits, limits, color=GREY, linestyle="--", linewidth=1, label="gap = sd")
        plot.set_xscale("log")
        plot.set_yscale("log")

    return _panels(states, draw, "sd of rows on an axis", "gap on that axis")


def plot_spread(states: Mapping[str, dict]) -> Figure:
    """How many leading directions hold the variance of images and of texts, and their effective dimensions."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.7), layout="constrained")
        plots = figure.subplots(1, 3, width_ratios=(1, 1, 0.8))
        for plot, kind in zip(plots, ("images", "texts"), strict=False):
            _cumulative(plot, {name: state["spread"][kind]["spectrum"] for name, state in states.items()})
            plot.set_title(kind)
        plots[0].set_ylabel("share of variance held")
        measures = {kind: lambda s, kind=kind: s["spread"][kind]["participation_ratio"] for kind in ("images", "texts")}
        _dots(plots[2], "participation ratio", measures, states)
        handles, labels = plots[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def plot_residuals(states: Mapping[str, dict]) -> Figure:
    """Alignment noise: its sd in each dimension, cosines between residuals, leading directions, Gaussianity."""
    residuals = {name: state["paired"]["residuals"] for name, state in states.items()}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 6.2), layout="constrained")
        sd, cosine, share, tests = figure.subplots(2, 2).flat
        for (name, found), (colour, dashes) in zip(residuals.items(), LOOKS, strict=False):
            values = sorted(found["sd"], reverse=True)
            sd.plot(range(1, len(values) + 1), values, color=colour, linestyle=dashes, linewidth=1.8, label=name)
            _histogram(cosine, found["cosine"], name, colour, dashes)
        sd.set(xlabel="dimension, largest first", ylabel="sd of the residuals", ylim=(0, None))
        sd.set_title("alignment noise a dimension")
        isotropic = next(iter(residuals.values()))["cosine"]["sd_if_isotropic"]
        cosine.axvspan(-isotropic, isotropic, color=GREY, alpha=0.2, linewidth=0)
        cosine.set(xlabel="cosine (grey: ± sd of isotropic noise)", ylabel="share in 0.02")
        cosine.set_title("between two pairs' residuals")
        _cumulative(share, {name: found["spread"]["spectrum"] for name, found in residuals.items()})
        share.set(ylabel="share of variance held")
        share.set_title("residuals' leading directions")
        _tests(tests, {name: found["gaussianity"] for name, found in residuals.items()})
        handles, labels = sd.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def plot_optimisation(curves: Mapping[str, Mapping[float, dict[str, Sequence[float]]]]) -> Figure:
    """Loss and gap over the steps of contrastive training, a line a temperature: {kind of rows: {temperature: {`loss`,
    `varying`, `constant`: values}}}, see `contrastive.optimisation`. A row of panels a kind."""
    titles = {
        "loss": "loss (nats)",
        "varying": "gap where rows vary",
        "constant": "gap where they do not",
    }
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 2.5 * len(curves) + 0.9), layout="constrained")
        grid = figure.subplots(len(curves), 3, sharex=True, squeeze=False)
        for line, (kind, by_temperature) in zip(grid, curves.items(), strict=True):
            highest = max(max(found[name]) for found in by_temperature.values() for name in ("varying", "constant"))
            for plot, (name, title) in zip(line, titles.items(), strict=True):
                for (temperature, found), (colour, dashes) in zip(by_temperature.items(), LOOKS, strict=False):
                    plot.plot(found[name], color=colour, linestyle=dashes, linewidth=1.8, label=f"τ = {temperature:g}")
                plot.set_title(f"{kind}: {title}" if name == "loss" else title, fontsize=10)
                plot.set_xscale("symlog", linthresh=1)
                if name == "loss":
                    plot.set_yscale("log")
                else:
                    plot.set_ylim(0, 1.08 * highest)
        for plot in grid[-1]:
            plot.set_xlabel("step")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _tests(plot: Axes, states: Mapping[str, dict]) -> None:
    measures = {
        "K²": lambda s: s["dagostino"] and s["dagostino"]["share_rejected"],
        "K², corrected": lambda s: s["dagostino"] and s["dagostino"]["share_rejected_benjamini_hochberg"],
        "Anderson-Darling": lambda s: s["anderson_darling"] and s["anderson_darling"]["share_rejected"],
    }
    places = np.arange(len(states))
    for n, ((label, measure), colour) in enumerate(zip(measures.items(), (BLUE, ORANGE, GREEN), strict=True)):
        shares = [100 * (measure(state) or 0) for state in states.values()]
        plot.barh(places + (n - 1) * 0.26, shares, height=0.24, color=colour, label=label)
    plot.axvline(5, color=GREY, linestyle="--", linewidth=1)
    plot.set_yticks(places, list(states), fontsize=8)
    plot.set_ylim(len(states) - 0.5, -0.5)
    plot.set(xlim=(0, 100), xlabel="% of dimensions rejected (dashed: 5 %)")
    plot.set_title("tests of Gaussianity")
    plot.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.4, -0.22))


def _cumulative(plot: Axes, spectra: Mapping[str, Sequence[float]]) -> None:
    for (name, spectrum), (colour, dashes) in zip(spectra.items(), LOOKS, strict=False):
        held = np.cumsum(spectrum) / max(np.sum(spectrum), 1e-30)
        plot.plot(range(1, len(held) + 1), held, color=colour, linestyle=dashes, linewidth=1.8, label=name)
    plot.set_xscale("log")
    plot.set(xlabel="leading directions", ylim=(0, 1.02))


def _histogram(plot: Axes, cosines: dict, label: str, colour: str, dashes) -> None:
    shares = np.array(cosines["histogram"])
    edges = np.linspace(-1, 1, len(shares) + 1)
    there = np.flatnonzero(shares > 0)
    shown = slice(max(there.min() - 1, 0), there.max() + 2)
    edges = edges[shown.start : shown.start + len(shares[shown]) + 1]
    plot.stairs(shares[shown], edges, color=colour, linestyle=dashes, linewidth=1.6, label=label)


def _panels(states: Mapping[str, dict], draw: Callable[[Axes, dict], None], x: str, y: str, columns: int = 3) -> Figure:
    """A panel a state on the same axes, at most `columns` side by side, one legend for all."""
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
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure
