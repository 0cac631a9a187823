"""Figures of the embeddings' geometry: legends, footnotes, and what stands beyond a logarithmic axis."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from evaluation.geometry.analysis import Geometry, analyze
from evaluation.geometry.gap import GapAlongAxes
from evaluation.geometry.plots import LOOKS, geometry_figures, plot_gap_axes, plot_spread
from evaluation.geometry.sample import Embeddings


def state(offset: float = 1.0, paired: bool = True) -> Geometry:
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(40, 4, generator=generator) for _ in range(2))
    images[:, 0], texts[:, 0] = offset, 0.0  # no variance, and the whole of a gap that is not there where offset is 0
    return analyze(Embeddings(images, texts, torch.arange(40) if paired else None), draws=50)


def test_each_figure_says_whether_it_read_pairs():
    figures = geometry_figures({"raw": state()}, "demo, split val")
    footnotes = {name: figure.get_supxlabel() for name, figure in figures.items()}
    assert {name for name, words in footnotes.items() if "uses image-text pairs" in words} == {
        "summary", "cosines", "gap_directions", "residuals"
    }  # fmt: skip
    assert footnotes["spread"] == "demo, split val; no pairs used"
    unpaired = geometry_figures({"raw": state(paired=False)})
    assert {figure.get_supxlabel() for figure in unpaired.values()} == {"no pairs used"} and "residuals" not in unpaired
    with pytest.raises(ValueError, match="at most 8 states"):
        geometry_figures({str(n): {} for n in range(len(LOOKS) + 1)})


def test_legends_are_read_line_by_line():
    legend = plot_spread(dict.fromkeys("abcde", state())).legends[0]
    # matplotlib fills three columns downwards, so that these are the lines a b c and d e.
    assert [text.get_text() for text in legend.texts] == ["a", "d", "b", "e", "c"] and legend._ncols == 3
    narrow = geometry_figures({"raw": state()})["cosines"]
    drawn = narrow.legends[0].get_window_extent()
    assert drawn.x0 >= 0 and drawn.x1 <= narrow.bbox.width


def test_what_lies_below_a_logarithmic_axis_is_marked():
    def labels(**states):
        return [text.get_text() for text in plot_gap_axes(states).legends[0].texts]

    below = "below 0.00001, drawn there"
    assert below in labels(raw=state()) and below in labels(raw=state(0.0))
    axes = GapAlongAxes(sd=[0.1, 1.0], gap=[0.5, 0.5])
    assert labels(raw=replace(state(), gap=replace(state().gap, axes=axes))) == ["gap = sd"]
