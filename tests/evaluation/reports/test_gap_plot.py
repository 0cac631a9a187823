"""Which gap predicts CIDEr: golden values, what is left out, and the figure."""

from __future__ import annotations

import pytest

from evaluation.captions.result import EvaluationResult
from evaluation.embeddings.retrieval import Gap
from evaluation.reports.gap_plot import MEASURES, gaps_of_methods, plot_gaps, prediction
from evaluation.reports.method_result import MethodResult
from evaluation.reports.plots import save_plot


def run(method: str, cider: float | None, distribution: float | None, seed: int = 0, decoding: str = "greedy"):
    gap = Gap(0.5, 0.1 * (cider or 0), 0.2, 0.3, None if distribution is None else 1.0, distribution)
    result = EvaluationResult(metrics={"CIDEr": cider}, gap=gap)
    return MethodResult(result=result, method=method, seed=seed, decoding_name=decoding)


RUNS = [run("a", 10, 4.0), run("b", 20, 3.0), run("c", 28, 2.0), run("c", 32, 2.0, 1), run("d", 40, 1.0)]


def test_a_line_that_fits_explains_everything(tmp_path):
    methods = gaps_of_methods(RUNS)
    assert methods["CIDEr"].tolist() == [10, 20, 30, 40] and methods["distribution_gap"].tolist() == [4, 3, 2, 1]
    fits = prediction(methods)
    assert fits["distribution_gap"] == pytest.approx((1, -1)) and fits["centroid_distance"] == pytest.approx((1, 1))
    assert "pair_distance" not in fits  # the same for all methods: it explains nothing
    figure = plot_gaps(methods)
    assert [panel.get_xlabel() for panel in figure.axes] == [MEASURES[name] for name in fits]
    save_plot(figure, tmp_path, "gaps")
    assert (tmp_path / "gaps.svg").stat().st_size > 1000


def test_what_has_no_gap_or_score_or_is_no_method_is_left_out():
    others = [run("e", None, 1.0), run("f", 50, None), run("oracle_pairs", 60, 1.0), run("a", 99, 9.0, 0, "beam")]
    assert gaps_of_methods([*RUNS, *others])["method"].tolist() == ["a", "b", "c", "d"]
    assert prediction(gaps_of_methods(RUNS[:2])) == {} == prediction(gaps_of_methods([run("f", 50, None)]))
