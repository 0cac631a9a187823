"""Gaussian noise everywhere but along the gap between the means of the modalities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.step import Step
from alignment.steps import Center, Normalize
from common.checks import NotNegative, checked_options


class GaussianNoiseAcrossGap(Step):
    """Add N(0, noise_std² (I - g gᵀ)) to training rows; inference rows pass unchanged.

    The unit vector g is the direction from the mean of the training side's rows to that of the inference side's, so
    that noise leaves a row where it is along the gap. It is called `c22_modified` in the code of C³'s experiments on
    sounds and videos (https://github.com/yuhui-zh15/C3, branch imagebind, train.py), and is not in the paper. Both
    means come from the store, that is, from training splits, unpaired.

    `noise_std` is a standard deviation per dimension.
    """

    reads_inference_rows = True
    gap: Tensor

    @checked_options("alignment.")
    def __init__(self, dim: int, noise_std: NotNegative):
        super().__init__()
        self.dim, self.noise_std = dim, noise_std
        self.register_buffer("gap", torch.zeros(dim))  # (D,) unit vector

    def training_side(self, rows, normal):
        noise = normal(rows)
        along = (noise @ self.gap).unsqueeze(-1) * self.gap  # (B, D)
        return rows + self.noise_std * (noise - along)

    def options(self):
        return {"dim": self.dim, "noise_std": self.noise_std}

    @classmethod
    def from_store(cls, store, preceding, noise_std: float):
        """Raises ValueError when another step than Normalize and Center is before this one, for the means are of unit
        rows, and when the store has no mean of one of the modalities."""
        if [type(step) for step in preceding] not in ([Normalize], [Normalize, Center]):
            raise ValueError(
                "GaussianNoiseAcrossGap must follow Normalize, or Normalize and Center: the gap is between the store's "
                "means of unit rows. Correct the list alignment.steps."
            )
        training, inference = (store.side_modality(side) for side in ("training", "inference"))
        if not store.has_mean(inference):
            raise ValueError(
                f"GaussianNoiseAcrossGap needs the {inference} mean, which {store.path} does not have: prepare a store "
                f"with {inference}s of the split dataset.image_mean_split, or take alignment=c2_corrupt"
            )
        step = cls(store.dim, noise_std)
        step.gap.copy_(F.normalize(store.mean(inference) - store.mean(training), dim=0))
        return step
