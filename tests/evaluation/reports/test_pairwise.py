"""Tests between every two methods: parity with tests of single pairs, Holm's correction, invariants."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evaluation.reports import pairwise
from evaluation.reports.pair_matrix import pair_list, pair_matrices
from evaluation.reports.pairwise import PairTest, enough_resamples, holm, pairwise_tests, resampled_means
from evaluation.reports.statistics import paired_comparison


def scores(seeds: int = 2, images: int = 40) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shared = generator.gamma(2.0, 20.0, (1, images))
    shifts = {"a": 0.0, "b": 0.5, "c": 8.0}
    return {name: shared + shift + generator.normal(0, 4, (seeds, images)) for name, shift in shifts.items()}


@pytest.mark.parametrize("at_once", [2**22, 130])
def test_every_pair_is_tested_as_if_it_were_alone(monkeypatch, at_once):
    monkeypatch.setattr(pairwise, "_DRAWS_AT_ONCE", at_once)
    values = {"greedy": scores(), "beam": {name: part + 1 for name, part in scores().items()}}
    tests = pairwise_tests(values, resamples=300, seed=5)
    assert [(t.decoding_name, t.method, t.other) for t in tests] == [
        (decoding, *pair) for decoding in values for pair in (("a", "b"), ("a", "c"), ("b", "c"))
    ]
    for test in tests:
        of = values[test.decoding_name]
        alone = paired_comparison(of[test.method], of[test.other], resamples=300, seed=5)
        compared = test.comparison
        for name in ("difference", "low", "high", "p_images", "per_seed", "p_seeds"):
            assert getattr(compared, name) == pytest.approx(getattr(alone, name), rel=1e-9), name
    for decoding in values:
        its = [test for test in tests if test.decoding_name == decoding]
        assert [test.p_holm for test in its] == holm([test.comparison.p_images for test in its])


def test_means_of_resamples_are_those_of_drawn_rows():
    by_image = np.random.default_rng(1).normal(size=(7, 3))
    drawn = np.random.default_rng(2).integers(0, 7, (9, 7))
    assert np.allclose(resampled_means(by_image, 9, seed=2), [by_image[rows].mean(axis=0) for rows in drawn])


def test_holm_is_that_of_r():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.9), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005, 0.9]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert holm([0.6, 0.7]) == [1, 1] and holm([0.02]) == [0.02] and holm([]) == []


def test_holm_is_between_no_correction_and_bonferronis_and_keeps_the_order():
    p_values = np.random.default_rng(0).uniform(size=40) ** 3
    corrected = np.array(holm(p_values.tolist()))
    assert (corrected >= p_values).all() and (corrected <= np.minimum(1, 40 * p_values)).all()
    assert (np.diff(corrected[p_values.argsort()]) >= 0).all()


def test_methods_that_caption_alike_do_not_differ():
    same = scores()["a"]
    tests = pairwise_tests({"greedy": {"a": same, "b": same.copy(), "c": same + 2}})
    assert [test.comparison.p_images for test in tests] == [1, pytest.approx(2 / 10_001), pytest.approx(2 / 10_001)]
    assert [test.is_significant for test in tests] == [False, True, True]
    assert (tests[0].comparison.low, tests[0].comparison.high, tests[0].comparison.p_seeds) == (0, 0, 1)


def test_pairs_of_many_methods_can_still_be_significant():
    for methods in (2, 10, 25, 40):
        resamples, pairs = enough_resamples(methods), methods * (methods - 1) / 2
        assert resamples >= 10_000 and pairs * 2 / (resamples + 1) <= 0.01


def test_one_method_has_no_pair_and_other_shapes_are_refused():
    assert pairwise_tests({"greedy": {"a": np.ones((1, 3))}, "beam": {}}) == []
    assert pairwise_tests({"greedy": {"a": np.ones((1, 3)), "b": np.ones((1, 3))}})[0].comparison.p_seeds is None
    with pytest.raises(ValueError, match=r"same seeds and images for all methods, got \[\(1, 3\), \(2, 3\)\]"):
        pairwise_tests({"greedy": {"a": np.ones((1, 3)), "b": np.ones((2, 3))}})
    with pytest.raises(ValueError, match="b must be finite"):
        pairwise_tests({"greedy": {"a": np.ones((1, 3)), "b": np.full((1, 3), np.nan)}})


def test_a_pair_is_the_same_after_a_file():
    for test in pairwise_tests({"greedy": scores()}, resamples=50):
        assert PairTest.from_json(json.loads(json.dumps(test.to_json()))) == test


def test_the_matrix_has_the_best_first_and_mirrors_signs():
    tests = pairwise_tests({"greedy": scores()})
    (matrix,) = pair_matrices(tests, "video")
    assert matrix.methods[0] == "c" and [row[n] for n, row in enumerate(matrix.cells)] == [None] * 3
    better, worse = matrix.cells[0][1], matrix.cells[1][0]
    assert (better.mark, worse.mark) == ("better", "worse") and better.text[1:] == worse.text[1:]
    assert better.text[0] == "+" and worse.text[0] == "-" and "p over videos" in better.title
    assert "after Holm's correction; p over seeds" in better.title
    assert matrix.cells[1][2].mark == matrix.cells[2][1].mark == ""
    assert pair_list(tests).count("\n- greedy: ") == 3
    assert pair_list(pairwise_tests({"greedy": {str(n): np.ones((1, 3)) for n in range(7)}})) == ""
