"""How well the detector sees, and the threshold from which a noun counts as seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve
from torch import Tensor

from demo_world.detector import Sights
from demo_world.labeled_scenes import LabeledScenes


@dataclass(frozen=True)
class DetectorMetrics:
    """Of the sights of N scenes; all are shares from 0 to 1.

    mean_average_precision: over the nouns that a scene has.
    noun_recall, noun_precision: of all nouns of all scenes together, at the threshold.
    place_accuracy, weather_accuracy: of the likeliest one.
    """

    mean_average_precision: float
    noun_recall: float
    noun_precision: float
    place_accuracy: float
    weather_accuracy: float


def measure_sights(sights: Sights, scenes: LabeledScenes, threshold: float) -> DetectorMetrics:
    """How well the scenes are seen, where nouns count as seen from the probability `threshold`."""
    there, seen = scenes.nouns, sights.nouns >= threshold
    occurs = there.any(0)
    right = (there & seen).sum().item()
    return DetectorMetrics(
        float(average_precision_score(there[:, occurs].numpy(), sights.nouns[:, occurs].numpy(), average="macro")),
        right / max(int(there.sum()), 1),
        right / max(int(seen.sum()), 1),
        (sights.places.argmax(1) == scenes.places).float().mean().item(),
        (sights.weathers.argmax(1) == scenes.weathers).float().mean().item(),
    )


def choose_threshold(probabilities: Tensor, there: Tensor) -> float:
    """The threshold of the greatest F1 over all nouns of all scenes together: 0.5 where that is one, else the middle of
    the nearest interval of such.

    One for each noun would rest on its few scenes.

    Args:
        probabilities: (N, nouns).
        there: (N, nouns) bool.
    """
    precision, recall, least = precision_recall_curve(there.flatten().numpy(), probabilities.flatten().numpy())
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    below = np.append(0.0, least[:-1])  # any threshold between this and `least` counts the same nouns
    between = np.where((below < 0.5) & (least >= 0.5), 0.5, (below + least) / 2)
    best = between[f1[:-1] == f1[:-1].max()]  # the curve's last point has no threshold
    return float(best[np.abs(best - 0.5).argmin()])
