"""Training rows moved to the distribution of the inference rows, by unpaired statistics alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.step import Step
from alignment.steps import Normalize
from common.checks import checked_options
from embedding_space.store import EmbeddingStore, Side

ROWS_AT_ONCE = 65_536

Scale = Literal["scalar", "diagonal", "none"]


class Realign(Step):
    """Move text rows to where image rows are: (text - text mean) s + image mean. Image rows pass unchanged.

    ReAlign (arXiv 2602.07026; https://github.com/Yu-xm/ReVision, embed_ReAlign.py) has one s for all dimensions, the
    root of the ratio of the modalities' variances. Unit length moves the means apart again, "phantom drift", so it
    subtracts the new mean, adds the image mean, and takes unit length once more. TOMCap (arXiv 2512.04309) has one s
    per dimension, the ratio of the standard deviations, and corrects no drift.

    The statistics are of the store's training splits, unpaired. For image generation, images are moved to the texts.

    Args:
        dim: D.
        scale: `scalar`, `diagonal` for one per dimension, or `none`, which moves the mean alone.
        correct_drift: whether the mean is corrected after unit length. Rows are of unit length then; without it they
            are not, but have the images' mean and variance exactly.
    """

    reads_inference_rows = True
    training_mean: Tensor
    inference_mean: Tensor
    factor: Tensor
    drifted_mean: Tensor

    @checked_options("alignment.")
    def __init__(self, dim: int, scale: Scale = "scalar", correct_drift: bool = True):
        super().__init__()
        self.dim, self.scale, self.correct_drift = dim, scale, correct_drift
        for name in ("training_mean", "inference_mean", "factor", "drifted_mean"):
            self.register_buffer(name, torch.zeros(dim))

    def training_side(self, rows, normal):
        moved = self._moved(rows)
        if not self.correct_drift:
            return moved
        return F.normalize(F.normalize(moved, dim=-1) - self.drifted_mean + self.inference_mean, dim=-1)

    def _moved(self, rows: Tensor) -> Tensor:
        return (rows - self.training_mean) * self.factor + self.inference_mean

    def options(self):
        return {"dim": self.dim, "scale": self.scale, "correct_drift": self.correct_drift}

    @classmethod
    def from_store(cls, store, preceding, scale: Scale = "scalar", correct_drift: bool = True):
        """Raises ValueError when it does not directly follow one Normalize, for the statistics are of unit rows, and
        when the store has no training rows of one of the modalities."""
        if [type(step) for step in preceding] != [Normalize]:
            raise ValueError(
                "Realign must directly follow one Normalize: its statistics are of unit rows. Correct the list "
                "alignment.steps."
            )
        step = cls(store.dim, scale, correct_drift)
        rows = _training_split(store, "training")
        mean, variance = _moments(rows)
        other_mean, other_variance = _moments(_training_split(store, "inference"))
        step.training_mean.copy_(mean)
        step.inference_mean.copy_(other_mean)
        step.factor.copy_(_factor(scale, variance, other_variance))
        if correct_drift:
            step.drifted_mean.copy_(_mean(F.normalize(step._moved(part), dim=-1) for part in _unit_parts(rows)))
        return step


def _training_split(store: EmbeddingStore, side: Side) -> Tensor:
    """(N, D) float16: a side's rows of its training split."""
    modality = store.side_modality(side)
    option = {"text": "text_split", "image": "image_mean_split"}[modality]
    split = getattr(store.manifest, option)
    if split is None or not store.has_mean(modality):
        raise ValueError(
            f"Realign needs {modality}s of the split dataset.{option}={split}, of which {store.path} has none: prepare "
            "a store that has some (they need no pairs), or take alignment=c2_corrupt"
        )
    return (store.training_rows if side == "training" else store.inference_rows)(split, torch.float16)


def _unit_parts(rows: Tensor) -> Iterator[Tensor]:
    """`rows` in parts, as float32 rows of unit length, one part in memory at a time."""
    return (F.normalize(part.float(), dim=-1) for part in rows.split(ROWS_AT_ONCE))


def _mean(parts: Iterable[Tensor]) -> Tensor:
    """(D,) the mean of all rows of the parts, summed in float64."""
    count, total = 0, torch.zeros((), dtype=torch.float64)
    for part in parts:
        count, total = count + len(part), total + part.sum(dim=0, dtype=torch.float64)
    return total / count


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,) and variance per dimension (D,) of the rows at unit length, in float64."""
    mean = _mean(_unit_parts(rows))
    return mean, _mean((part - mean).square() for part in _unit_parts(rows))


def _factor(scale: Scale, variance: Tensor, other_variance: Tensor) -> Tensor:
    """(D,) what residuals are multiplied by. A dimension in which the rows do not vary stays as it is."""
    if scale == "none":
        return torch.ones_like(variance)
    if scale == "scalar":
        variance, other_variance = (each.sum().expand_as(each) for each in (variance, other_variance))
    return torch.where(variance > 0, (other_variance / variance).sqrt(), 1.0)
