"""Thresholds against a search over all of them, and metrics of hand-made sights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from demo_world.detector import VOCABULARY, Sights
from demo_world.detector_metrics import choose_thresholds, measure_sights
from demo_world.labeled_scenes import LabeledScenes


def test_a_threshold_has_the_greatest_f1_of_all():
    generator = torch.Generator().manual_seed(0)
    there = torch.rand(60, 4, generator=generator) < 0.3
    there[:, 3] = False
    probabilities = (0.4 * there + 0.8 * torch.rand(60, 4, generator=generator)).clamp(max=1)
    thresholds = choose_thresholds(probabilities, there)
    for noun in range(3):
        column, truth = probabilities[:, noun].numpy(), there[:, noun].numpy()
        best = max(f1_score(truth, column >= cut) for cut in np.linspace(0, 1, 1001))
        assert f1_score(truth, column >= thresholds[noun].item()) == pytest.approx(best)
        cuts = np.linspace(0, 1, 1001)
        as_good = cuts[[f1_score(truth, column >= cut) == pytest.approx(best) for cut in cuts]]
        assert abs(thresholds[noun].item() - 0.5) <= np.abs(as_good - 0.5).min() + 0.05
    assert thresholds[3] == 0.5


def test_metrics_of_sights_are_counted():
    count = len(VOCABULARY["nouns"])
    nouns = torch.zeros(2, count, dtype=torch.bool)
    nouns[0, :2], nouns[1, 0] = True, True
    seen = torch.zeros(2, count)
    seen[0, 0], seen[0, 2], seen[1, 0] = 0.9, 0.6, 0.8  # one of the nouns is missed, and one is not there
    places, weathers = torch.eye(len(VOCABULARY["places"]))[:2], torch.eye(len(VOCABULARY["weathers"]))[:2]
    scenes = LabeledScenes(torch.empty(2, 3, 8, 8), nouns, torch.tensor([0, 5]), torch.tensor([0, 1]), [])
    metrics = measure_sights(Sights(seen, places, weathers), scenes, torch.full((count,), 0.5))
    assert (metrics.noun_recall, metrics.noun_precision) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (metrics.place_accuracy, metrics.weather_accuracy) == (0.5, 1.0)
    assert metrics.mean_average_precision == pytest.approx((1 + 0.5) / 2)
