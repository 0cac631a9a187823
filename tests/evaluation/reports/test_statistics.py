"""Intervals and paired tests: parity with loops, known cases, coverage."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from evaluation.reports import statistics
from evaluation.reports.statistics import bootstrap_interval, paired_comparison, read_per_image


def slow_means(by_image: np.ndarray, resamples: int, seed: int) -> list[float]:
    generator = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        rows = [int(generator.integers(0, len(by_image))) for _ in by_image]
        means.append(sum(by_image[row] for row in rows) / len(rows))
    return means


def scores(seed: int, seeds: int = 3, images: int = 50, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 20.0, (seeds, images)) + shift


@pytest.mark.parametrize("elements", [2**22, 130])
def test_intervals_are_those_of_a_slow_loop_however_it_is_cut(monkeypatch, elements):
    monkeypatch.setattr(statistics, "_ELEMENTS_PER_BATCH", elements)
    values = scores(1)
    expected = np.quantile(slow_means(values.mean(axis=0), 40, 5), [0.025, 0.975])
    result = bootstrap_interval(values, 40, seed=5)
    assert (result.low, result.high) == pytest.approx(tuple(expected), rel=1e-12)


def test_one_image_has_an_interval_without_width():
    result = paired_comparison(np.array([[3.0]]), np.array([[1.0]]))
    assert (result.low, result.difference, result.high) == (2, 2, 2)


def test_interval_and_p_are_those_of_a_slow_reference():
    ours, baseline = scores(1, shift=4.0), scores(2)
    result = paired_comparison(ours, baseline, resamples=200, seed=3)
    by_image = [sum(ours[s][n] - baseline[s][n] for s in range(3)) / 3 for n in range(50)]
    means = sorted(slow_means(np.array(by_image), 200, 3))
    at = 0.025 * 199  # numpy's linear rule between order statistics
    low = means[math.floor(at)] + (at % 1) * (means[math.ceil(at)] - means[math.floor(at)])
    beyond = min(sum(mean <= 0 for mean in means), sum(mean >= 0 for mean in means))
    assert result.difference == pytest.approx(sum(by_image) / 50)
    assert result.low == pytest.approx(low) and result.low < result.difference < result.high
    assert result.p_images == pytest.approx(min(1, 2 * (beyond + 1) / 201))
    each = [float((ours[s] - baseline[s]).mean()) for s in range(3)]
    assert result.per_seed == pytest.approx(each)
    mean, sd = sum(each) / 3, math.sqrt(sum((d - sum(each) / 3) ** 2 for d in each) / 2)
    t = abs(mean) / (sd / math.sqrt(3))
    # Student's t with two degrees of freedom has a closed form.
    assert result.p_seeds == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_identical_methods_do_not_differ():
    values = scores(4)
    result = paired_comparison(values, values)
    assert (result.difference, result.low, result.high, result.p_images, result.p_seeds) == (0, 0, 0, 1, 1)
    assert result.per_seed == [0, 0, 0]


def test_a_constant_difference_is_certain_and_antisymmetric():
    values = scores(4)
    result, turned = paired_comparison(values + 2, values), paired_comparison(values, values + 2)
    assert result.difference == pytest.approx(2) and result.low == pytest.approx(2)
    assert result.p_images == pytest.approx(2 / 10_001) == turned.p_images
    assert turned.difference == pytest.approx(-2)
    assert paired_comparison(values[:1] + 2, values[:1]).p_seeds is None
    assert paired_comparison(np.full((2, 5), 2.0), np.ones((2, 5))).p_seeds == 0


def test_pairing_finds_what_separate_intervals_do_not():
    images = np.random.default_rng(0).normal(0, 30, (1, 400))  # images differ far more than methods
    baseline = images + np.random.default_rng(1).normal(0, 3, (2, 400))
    ours = images + 1.5 + np.random.default_rng(2).normal(0, 3, (2, 400))
    assert paired_comparison(ours, baseline).p_images < 0.01
    assert bootstrap_interval(ours).low < bootstrap_interval(baseline).value


def test_intervals_cover_the_true_mean_about_as_often_as_they_say_and_are_the_same_each_time():
    covered = 0
    for seed in range(200):
        result = bootstrap_interval(scores(seed, seeds=1, images=60), resamples=400)
        covered += result.low <= 40 <= result.high  # the mean of a gamma of shape 2, scale 20
    assert 0.88 <= covered / 200 <= 0.99
    assert bootstrap_interval(scores(1)) == bootstrap_interval(scores(1))


@pytest.mark.parametrize(
    ("ours", "baseline", "message"),
    [
        (np.ones((2, 5)), np.ones((2, 4)), r"\(2, 5\) and \(2, 4\)"),
        (np.ones((2, 5)), np.ones((3, 5)), "same seeds and images"),
        (np.ones(5), np.ones(5), "at least one of each"),
        (np.ones((2, 0)), np.ones((2, 0)), "at least one of each"),
        (np.array([[1.0, np.nan]]), np.ones((1, 2)), "ours must be finite, but 1 of"),
    ],
)
def test_what_cannot_be_paired_is_refused(ours, baseline, message):
    with pytest.raises(ValueError, match=message):
        paired_comparison(ours, baseline)


def test_values_are_read_as_evaluations_write_them(tmp_path):
    (tmp_path / "per_image.json").write_text(json.dumps({"image_ids": ["a", "b"], "CIDEr": [0.5, 1.5]}))
    image_ids, values = read_per_image(tmp_path, "CIDEr")
    assert image_ids == ["a", "b"] and values.tolist() == [0.5, 1.5]
    assert read_per_image(tmp_path, "METEOR") is None
