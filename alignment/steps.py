"""The basic steps: what C³ and its ablations are made of, and what other methods put before their own steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from alignment.auto import estimate_noise_std, rows_for_estimate
from alignment.step import Step


class Normalize(Step):
    """Scale each row to unit length."""

    def training_side(self, rows, normal):
        return F.normalize(rows, dim=-1)

    def inference_side(self, rows):
        return F.normalize(rows, dim=-1)


class Center(Step):
    """Collapse: subtract each modality's own mean of unit rows (C³, arXiv 2401.08567, section 4).

    Both means come from the store's statistics: texts of the training split, images of the unpaired training images.
    A store without an image mean (a text-only corpus) leaves it NaN: texts can be centred, images are refused.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.register_buffer("text_mean", torch.zeros(dim))
        self.register_buffer("image_mean", torch.zeros(dim))

    def training_side(self, rows, normal):
        return rows - self.text_mean

    def inference_side(self, rows):
        if self.image_mean.isnan().any():
            raise ValueError(
                "This Center has no image mean: the store that it came from has no images of the split "
                "dataset.image_mean_split. Take the mean of the images' own data set with eval_coco.py "
                "image_mean_from=store, or prepare a store that has one and train again with store=..."
            )
        return rows - self.image_mean

    def options(self):
        return {"dim": self.dim}

    @classmethod
    def from_store(cls, store, preceding):
        if [type(step) for step in preceding] != [Normalize]:
            raise ValueError(
                "Center must directly follow one Normalize: the store's means are means of unit rows. "
                "Mend the list alignment.steps."
            )
        step = cls(store.dim)
        step.text_mean.copy_(store.mean("text"))
        step.image_mean.copy_(store.mean("image") if store.has_mean("image") else torch.tensor(torch.nan))
        return step


class GaussianNoise(Step):
    """Corrupt: add N(0, noise_std² I) to text rows; image rows pass unchanged.

    `noise_std` is a standard deviation a dimension: the papers' variance 0.016 (CapDec, arXiv 2211.00575; C³) is 0.126.
    """

    def __init__(self, noise_std: float):
        super().__init__()
        if not isinstance(noise_std, (int, float)) or not noise_std >= 0:
            raise ValueError(f"noise_std={noise_std!r} must be a number, 0 or more (option alignment.noise_std)")
        self.noise_std = float(noise_std)

    def training_side(self, rows, normal):
        return rows + self.noise_std * normal(rows)

    def options(self):
        return {"noise_std": self.noise_std}

    @classmethod
    def from_store(cls, store, preceding, noise_std: float | str, estimate: Mapping | None = None):
        """With noise_std="auto", `estimate` says from which data it is set: see `rows_for_estimate`."""
        if noise_std != "auto":
            return cls(noise_std)
        found = estimate_noise_std(rows_for_estimate(store, preceding, "noise_std", estimate))
        step = cls(found["value"])
        step.estimate = found
        return step


BASIC_STEPS: dict[str, type[Step]] = {"Normalize": Normalize, "Center": Center, "GaussianNoise": GaussianNoise}
