"""How well the detector sees, and the thresholds from which a noun counts as seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve
from torch import Tensor

from demo_world.detector import Sights
from demo_world.labeled_scenes import LabeledScenes


@dataclass(frozen=True)
class DetectorMetrics:
    """Of the sights of N scenes; all are shares from 0 to 1.

    mean_average_precision: over the nouns that a scene has.
    noun_recall, noun_precision: of all nouns of all scenes together, at the thresholds.
    place_accuracy, weather_accuracy: of the likeliest one.
    """

    mean_average_precision: float
    noun_recall: float
    noun_precision: float
    place_accuracy: float
    weather_accuracy: float


def measure_sights(sights: Sights, scenes: LabeledScenes, thresholds: Tensor) -> DetectorMetrics:
    """How well the scenes are seen.

    Args:
        thresholds: (nouns,) the probabilities from which nouns count as seen.
    """
    there, seen = scenes.nouns, sights.nouns >= thresholds
    occurs = there.any(0)
    right = (there & seen).sum().item()
    return DetectorMetrics(
        float(average_precision_score(there[:, occurs].numpy(), sights.nouns[:, occurs].numpy(), average="macro")),
        right / max(int(there.sum()), 1),
        right / max(int(seen.sum()), 1),
        (sights.places.argmax(1) == scenes.places).float().mean().item(),
        (sights.weathers.argmax(1) == scenes.weathers).float().mean().item(),
    )


def choose_thresholds(probabilities: Tensor, there: Tensor) -> Tensor:
    """(nouns,) float32: for each noun, of the thresholds with the greatest F1 the one that is nearest to 0.5; 0.5 for a
    noun that no scene has.

    Args:
        probabilities: (N, nouns).
        there: (N, nouns) bool.
    """
    columns = zip(probabilities.numpy().T, there.numpy().T, strict=True)
    return torch.tensor([_best_threshold(values, of_noun) if of_noun.any() else 0.5 for values, of_noun in columns])


def _best_threshold(probabilities: np.ndarray, there: np.ndarray) -> float:
    precision, recall, least = precision_recall_curve(there, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    below = np.append(0.0, least[:-1])  # any threshold between this and `least` counts the same pictures
    between = np.where((below < 0.5) & (least >= 0.5), 0.5, (below + least) / 2)
    best = between[f1[:-1] == f1[:-1].max()]  # the curve's last point has no threshold
    return float(best[np.abs(best - 0.5).argmin()])
