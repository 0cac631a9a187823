"""Gaussian noise with a full covariance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from alignment.auto_noise import EstimationRows, estimate_noise_std, rows_for_estimate
from alignment.step import Step
from common.checks import NotNegative, Share, checked_options

Covariance = Literal["images", "residual", "pairs"]


class CovarianceNoise(Step):
    """Add N(0, Σ) to training rows; inference rows pass unchanged.

    TIPCap (arXiv 2403.19193) draws from a multivariate Gaussian with the covariance of the differences between images
    and their texts. Its mean is a `Center` before this step. Only `covariance=pairs` reads such pairs. The others
    assume the shape of Σ from unpaired rows, after the steps before:

    - `images`: texts spread, around an image's place, in the directions in which images differ from each other.
    - `residual`: the text nearest to an image stands for its caption. It is nearer than a caption would be, so that the
      shape is used and not the size.

    Σ has the trace noise_std² D, so that noise of the same `noise_std` is as long as that of `GaussianNoise`. For image
    generation, texts and images change places.

    Args:
        dim: D.
        noise_std: root of trace(Σ) / D, a standard deviation per dimension.
        covariance: which rows its shape is from.
        shrinkage: the share of noise_std² I in Σ, since few rows leave directions out: 1 is `GaussianNoise`.
    """

    reads_inference_rows = True
    root: Tensor

    @checked_options("alignment.")
    def __init__(self, dim: int, noise_std: NotNegative, covariance: Covariance = "images", shrinkage: Share = 0.1):
        super().__init__()
        self.dim, self.noise_std, self.covariance, self.shrinkage = dim, noise_std, covariance, shrinkage
        self.uses_pairs = covariance == "pairs"
        self.register_buffer("root", torch.zeros(dim, dim))  # (D, D) symmetric, its square has the trace D

    def training_side(self, rows, normal):
        return rows + self.noise_std * (normal(rows) @ self.root)

    def options(self):
        return {
            "dim": self.dim,
            "noise_std": self.noise_std,
            "covariance": self.covariance,
            "shrinkage": self.shrinkage,
        }

    @classmethod
    def from_store(
        cls,
        store,
        preceding,
        noise_std: Any,
        covariance: Covariance = "images",
        shrinkage: float = 0.1,
        covariance_images: int = 5000,
        covariance_split: str = "val",
    ):
        """Make the step from data.

        Args:
            noise_std: a number; or `auto`, the one of the pairs' residuals, or without pairs the one with which noised
                texts are as far from their nearest text as images are from theirs.
            covariance_images: how many images are read, evenly spaced.
            covariance_split: of the pairs. Unpaired images are those of the store's image_mean_split.

        Raises:
            ValueError: a bad value, or a store without such images.
        """
        step = cls(store.dim, 0.0 if noise_std == "auto" else noise_std, covariance, shrinkage)
        rows = _rows(store, preceding, covariance, covariance_images, covariance_split)
        step.root.copy_(_unit_root(_covariance(rows, covariance), shrinkage))
        if noise_std == "auto":
            step.estimate = estimate_noise_std(rows, step.root)
            step.noise_std = step.estimate["value"]
        return step


@checked_options("alignment.")
def _rows(
    store: Any,
    preceding: Any,
    covariance: Covariance,
    covariance_images: Annotated[int, Field(ge=2)],
    covariance_split: str,
) -> EstimationRows:
    """The rows that the covariance is of, after the steps before."""
    paired = covariance == "pairs"
    split = covariance_split if paired else store.manifest.image_mean_split
    if not store.tables.has("images", split):
        hint = "name another with alignment.covariance_split=..." if paired else "take alignment=c3"
        raise ValueError(
            f"alignment.covariance={covariance} reads images of the split {split!r}, of which {store.path} has none: "
            f"prepare a store that has some, or {hint}"
        )
    data = {"data": "pairs", "split": split} if paired else {"data": "unpaired"}
    return rows_for_estimate(store, preceding, "covariance", {**data, "images": covariance_images})


def _covariance(rows: EstimationRows, covariance: Covariance) -> Tensor:
    """(D, D) float64."""
    varying = rows.inference if covariance == "images" else rows.residuals()
    return varying.double().T.cov(correction=0)


def _unit_root(covariance: Tensor, shrinkage: float) -> Tensor:
    """The symmetric root (D, D) of the covariance after shrinkage, scaled so that its square has the trace D.

    Raises:
        ValueError: the rows do not vary.
    """
    dim = len(covariance)
    trace = covariance.trace()
    if not trace > 0:
        raise ValueError("alignment.covariance is zero: the rows do not vary. Take alignment=c3")
    shrunk = (1 - shrinkage) * covariance * dim / trace + shrinkage * torch.eye(dim, dtype=covariance.dtype)
    values, vectors = torch.linalg.eigh(shrunk)
    return (vectors * values.clamp(min=0).sqrt() @ vectors.T).float()
