"""What the training loop needs of the detector: its loss, its validation metrics, its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from common.checks import NotNegative, Share, checked_dataclass
from demo_world.detector import Detector, Logits
from demo_world.detector_metrics import DetectorMetrics, choose_threshold, measure_sights
from demo_world.labeled_scenes import LabeledScenes
from training.batches import EpochOrder, StepRandom
from training.kept_weights import Better
from training.loop import Evaluation


@checked_dataclass("augmentation.")
class Augmentation:
    """How training pictures are varied, so that the detector also sees things in pictures that a generator made.

    zoom: the greatest factor, up or down, by which a picture is enlarged, as its logarithm.
    shift: the greatest shift in each direction, as a share of the picture's side.
    light: the greatest factor, up or down, on all pixels, as its logarithm.
    softened: the share of pictures that are seen at half their resolution.
    noise_std: the greatest standard deviation of noise on pixels from 0 to 1.
    """

    zoom: NotNegative = 0.1
    shift: Share = 0.05
    light: NotNegative = 0.15
    softened: Share = 0.25
    noise_std: NotNegative = 0.05

    def apply(self, pictures: Tensor, random: StepRandom) -> Tensor:
        """(B, 3, S, S) uint8 -> the same as float32 from 0 to 255, each zoomed, shifted, mirrored, lit, softened."""
        rows = torch.empty(len(pictures), 7, device=pictures.device)
        zoom, across, down, mirror, light, soften, noise = _uniform(rows, random).unbind(1)
        matrix = torch.zeros(len(pictures), 2, 3, device=pictures.device)
        scale = (self.zoom * (2 * zoom - 1)).exp()
        matrix[:, 0, 0] = torch.where(mirror < 0.5, -scale, scale)
        matrix[:, 1, 1] = scale
        matrix[:, :, 2] = 2 * self.shift * (2 * torch.stack([across, down], dim=1) - 1)  # the grid runs from -1 to 1
        grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
        moved = F.grid_sample(pictures.float(), grid, padding_mode="border", align_corners=False)
        soft = F.interpolate(F.avg_pool2d(moved, 2), scale_factor=2, mode="bilinear")
        moved = torch.where((soften < self.softened)[:, None, None, None], soft, moved)
        lit = moved * (self.light * (2 * light - 1)).exp()[:, None, None, None]
        noise = 255 * self.noise_std * noise[:, None, None, None] * random.normal_like(moved)
        return (lit + noise).clamp(0, 255)


class DetectorTask:
    """Trains on drawn scenes and is evaluated on others.

    Args:
        train, validation: their pictures are on the device.
    """

    better: Mapping[str, Better] = {metric.name: "higher" for metric in fields(DetectorMetrics)}

    def __init__(self, train: LabeledScenes, validation: LabeledScenes, augmentation: Augmentation, order: EpochOrder):
        self.train, self.validation, self.augmentation, self.order = train, validation, augmentation, order

    def loss(self, model: Detector, random: StepRandom) -> dict[str, Tensor]:
        """The sum of a binary cross-entropy for each noun and the cross-entropies of place and weather."""
        scenes, device = self.train, self.train.pictures.device
        rows = self.order.batch(random.step)[random.rows]
        logits: Logits = model(self.augmentation.apply(scenes.pictures[rows.to(device)], random))
        there = scenes.nouns[rows].to(device, torch.float32)
        nouns = F.binary_cross_entropy_with_logits(logits.nouns.float(), there, reduction="none").sum(1).mean()
        place = F.cross_entropy(logits.places.float(), scenes.places[rows].to(device))
        weather = F.cross_entropy(logits.weathers.float(), scenes.weathers[rows].to(device))
        return {"loss": nouns + place + weather, "nouns": nouns, "place": place, "weather": weather}

    def evaluate(self, model: Detector) -> Evaluation:
        """Metrics of the validation scenes, on which the model's threshold is chosen first."""
        with torch.autocast(model.threshold.device.type, enabled=False):  # as pictures will be looked at
            sights = model.look(self.validation.pictures)
        model.threshold.fill_(choose_threshold(sights.nouns, self.validation.nouns))
        return Evaluation(asdict(measure_sights(sights, self.validation, model.threshold.item())))

    def save(self, model: Detector, folder: Path) -> None:
        model.save(folder)


def _uniform(like: Tensor, random: StepRandom) -> Tensor:
    """Numbers from 0 to 1 of `like`'s shape, from the normal ones that the step's randomness has."""
    return torch.special.ndtr(random.normal_like(like))
