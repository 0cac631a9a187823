"""Thresholds against a search over all of them, and metrics of hand-made sights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from demo_world.detector import VOCABULARY, Sights
from demo_world.detector_metrics import choose_threshold, measure_sights
from demo_world.labeled_scenes import LabeledScenes


@pytest.mark.parametrize("apart", [0.2, 0.9])
def test_the_threshold_has_the_greatest_f1_of_all(apart):
    generator = torch.Generator().manual_seed(0)
    there = torch.rand(60, 4, generator=generator) < 0.3
    probabilities = (apart * there + 0.6 * torch.rand(60, 4, generator=generator)).clamp(max=1)
    threshold = choose_threshold(probabilities, there)
    values, truth = probabilities.flatten().numpy(), there.flatten().numpy()
    best = max(f1_score(truth, values >= cut) for cut in np.linspace(0, 1, 1001))
    assert f1_score(truth, values >= threshold) == pytest.approx(best)
    assert np.abs(values - threshold).min() > 1e-4  # between two probabilities


def test_a_half_is_taken_where_it_parts_as_well_as_any_other():
    assert choose_threshold(torch.tensor([[0.1, 0.8], [0.9, 0.3]]), torch.tensor([[0, 1], [1, 0]]).bool()) == 0.5


def test_metrics_of_sights_are_counted():
    count = len(VOCABULARY["nouns"])
    nouns = torch.zeros(2, count, dtype=torch.bool)
    nouns[0, :2], nouns[1, 0] = True, True
    seen = torch.zeros(2, count)
    seen[0, 0], seen[0, 2], seen[1, 0] = 0.9, 0.6, 0.8  # one of the nouns is missed, and one is not there
    places, weathers = torch.eye(len(VOCABULARY["places"]))[:2], torch.eye(len(VOCABULARY["weathers"]))[:2]
    scenes = LabeledScenes(torch.empty(2, 3, 8, 8), nouns, torch.tensor([0, 5]), torch.tensor([0, 1]), [])
    metrics = measure_sights(Sights(seen, places, weathers), scenes, 0.5)
    assert (metrics.noun_recall, metrics.noun_precision) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (metrics.place_accuracy, metrics.weather_accuracy) == (0.5, 1.0)
    assert metrics.mean_average_precision == pytest.approx((1 + 0.5) / 2)
