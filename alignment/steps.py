"""The basic steps: C³ and its ablations consist of them, and other methods begin with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.auto_noise import estimate_noise_std, rows_for_estimate
from alignment.step import Step
from common.checks import NotNegative, Share, checked_options


class Normalize(Step):
    """Scale each row to unit length."""

    def training_side(self, rows, normal):
        return F.normalize(rows, dim=-1)

    def inference_side(self, rows):
        return F.normalize(rows, dim=-1)


class Center(Step):
    """Collapse: subtract each modality's mean of unit rows (C³, arXiv 2401.08567, section 4).

    Both means come from the store: of the training texts and of the unpaired training images. A store without a mean of
    the inference side, such as a text-only corpus, leaves it NaN; its rows are then refused.
    """

    reads_inference_rows = True
    training_mean: Tensor
    inference_mean: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.register_buffer("training_mean", torch.zeros(dim))
        self.register_buffer("inference_mean", torch.zeros(dim))
        self.register_load_state_dict_pre_hook(_rename_means)

    def training_side(self, rows, normal):
        return rows - self.training_mean

    def inference_side(self, rows):
        if self.inference_mean.isnan().any():
            raise ValueError(
                "This Center has no image mean, since its store has no images of the split dataset.image_mean_split. "
                "Use the mean of the evaluated data set with eval_coco.py image_mean_from=store, or prepare a store "
                "that has one and train again with store=..."
            )
        return rows - self.inference_mean

    def options(self):
        return {"dim": self.dim}

    @classmethod
    def from_store(cls, store, preceding):
        if [type(step) for step in preceding] != [Normalize]:
            raise ValueError(
                "Center must directly follow one Normalize: the store's means are means of unit rows. "
                "Correct the list alignment.steps."
            )
        step = cls(store.dim)
        step.training_mean.copy_(store.mean(store.side_modality("training")))
        other = store.side_modality("inference")
        step.inference_mean.copy_(store.mean(other) if store.has_mean(other) else torch.tensor(torch.nan))
        return step


def _rename_means(step: Center, tensors: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Read checkpoints of version 0.1, whose means are called by the modalities of captioning."""
    for saved, name in (("text_mean", "training_mean"), ("image_mean", "inference_mean")):
        if prefix + saved in tensors:
            tensors[prefix + name] = tensors.pop(prefix + saved)


class GaussianNoise(Step):
    """Corrupt: add N(0, noise_std² I) to training rows; inference rows pass unchanged.

    `noise_std` is a standard deviation per dimension. The papers' variance of 0.016 (CapDec, arXiv 2211.00575; C³) is a
    `noise_std` of 0.126.
    """

    @checked_options("alignment.")
    def __init__(self, noise_std: NotNegative):
        super().__init__()
        self.noise_std = noise_std

    def training_side(self, rows, normal):
        return rows + self.noise_std * normal(rows)

    def options(self):
        return {"noise_std": self.noise_std}

    @classmethod
    def from_store(cls, store, preceding, noise_std: Any, estimate: Mapping | None = None):
        """For noise_std="auto", `estimate` says which data it is estimated from: see `EstimateOptions`."""
        estimated = None
        if noise_std == "auto":
            estimated = estimate_noise_std(rows_for_estimate(store, preceding, "noise_std", estimate))
            noise_std = estimated["value"]
        step = cls(noise_std)
        step.estimate = estimated
        return step


class LafiteNoise(Step):
    """LAFITE's pseudo text features: (1 - noise_share) row + noise_share e / |e|, with e standard normal.

    LAFITE (arXiv 2111.13792, section 3.1) in the form of C³'s code, which has noise_share 0.75. Inference rows pass
    unchanged.
    """

    @checked_options("alignment.")
    def __init__(self, noise_share: Share = 0.75):
        super().__init__()
        self.noise_share = noise_share

    def training_side(self, rows, normal):
        noise = normal(rows)
        return (1 - self.noise_share) * rows + self.noise_share * F.normalize(noise, dim=-1)

    def options(self):
        return {"noise_share": self.noise_share}


BASIC_STEPS: dict[str, type[Step]] = {step.__name__: step for step in (Normalize, Center, GaussianNoise, LafiteNoise)}
