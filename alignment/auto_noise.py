"""Noise levels for an encoder, from its data: the values of `noise_std: auto` and `image_timestep: auto`.

From `pairs`, a small validation set, we measure the alignment noise (C³, arXiv 2401.08567, section 3).

From `unpaired` images and texts, we treat an image as a noised text. We choose the noise level at which noised texts
are, on average, as far from their nearest other text as images are from theirs. Real alignment noise also moves images
towards *other* texts, where they are near some text but not their own, so these levels tend to be too low.

So it is for captioning. For image generation, which trains on images, texts are treated as noised images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from scipy.optimize import brentq
from torch import Tensor

from common.checks import checked_dataclass
from common.randomness import evenly_spaced, normal_sampler
from embedding_space.store import EmbeddingStore

MAX_ROWS = 20_000  # among which the nearest is searched
MAX_QUERIES = 500  # rows that are noised
BY_NEARNESS = "noised texts as near to their nearest text as images to theirs"
SAME_ROW = 0.9999  # cosine above which two texts are the same caption


@checked_dataclass("alignment.estimate.")
class EstimateOptions:
    """Which data an estimate reads.

    Attributes:
        data: `unpaired`, images of the store's image_mean_split, whose captions are not used, and texts of its
            text_split; or `pairs`, images of `split` with their captions.
        split: of the pairs.
        images: of them, how many are read, evenly spaced.
    """

    data: Literal["unpaired", "pairs"] = "unpaired"
    split: str = "val"
    images: Annotated[int, Field(ge=2)] = 1000


@dataclass(frozen=True)
class EstimationRows:
    """Rows as they reach the step whose option is estimated.

    Attributes:
        inference: (N, D) rows of the modality that is read at inference: images, for captioning.
        training: (M, D) rows of the modality that models train on: texts, for captioning.
        paired: whether row n of both is a pair, so that N = M.
        facts: which data they come from.
    """

    inference: Tensor
    training: Tensor
    paired: bool
    facts: dict[str, Any]

    def residual_std(self) -> float:
        """Standard deviation per dimension of the pairs' differences about their mean: C³'s alignment noise."""
        return (self.inference - self.training).var(dim=0).mean().sqrt().item()

    def residuals(self) -> Tensor:
        """(N, D) inference rows minus their training rows; without pairs, minus the nearest training rows."""
        if self.paired:
            return self.inference - self.training
        nearest = [_cosines(part, self.training).argmax(dim=-1) for part in self.inference.split(1024)]
        return self.inference - self.training[torch.cat(nearest)]

    def paired_cosine(self) -> float:
        """Mean cosine of the pairs."""
        return F.cosine_similarity(self.inference, self.training, dim=-1).mean().item()

    @cached_property
    def queries(self) -> Tensor:
        """(Q, D) evenly spaced training rows, to be noised."""
        return _subsample(self.training, MAX_QUERIES)

    @cached_property
    def _same_row(self) -> Tensor:
        """(Q, M) bool: which training rows are the query itself or a copy of it."""
        return _cosines(self.queries, self.training) > SAME_ROW

    def inference_nearness(self) -> float:
        """Mean cosine of inference rows to their nearest training row."""
        nearest = [_cosines(part, self.training).amax(dim=-1) for part in self.inference.split(1024)]
        return torch.cat(nearest).mean().item()

    def training_nearness(self, noised: Tensor) -> float:
        """Mean cosine of `noised` (Q, D), made from `queries`, to the nearest other training row."""
        return _cosines(noised, self.training).masked_fill_(self._same_row, -1.0).amax(dim=-1).mean().item()


def rows_for_estimate(
    store: EmbeddingStore, preceding: Sequence, option: str, estimate: Mapping | None = None
) -> EstimationRows:
    """The rows from which `option` is estimated, after the steps `preceding`.

    Args:
        estimate: the alignment's option `estimate`, see `EstimateOptions`.

    Raises:
        ValueError: unknown keys or values in `estimate`, or a split without images.
    """
    options = EstimateOptions(**(estimate or {}))
    paired = options.data == "pairs"
    split = options.split if paired else store.manifest.image_mean_split
    if split is None or not store.tables.has("images", split):
        hint = "name another with alignment.estimate.split=..." if paired else "take alignment.estimate.data=pairs"
        raise ValueError(
            f"{option}=auto reads images of the split {split!r}, of which {store.path} has none: "
            f"give alignment.{option}=NUMBER, or {hint}"
        )
    if paired:
        image_row = torch.from_numpy(store.pairs(split))
        kept = torch.isin(image_row, _subsample(torch.unique(image_row), options.images))
        images, texts = store.images(split)[image_row[kept]], store.texts(split)[kept]
        image_count = len(image_row[kept].unique())
    else:
        images = _subsample(store.images(split), options.images)
        texts = _subsample(store.texts(store.text_split, torch.float16), MAX_ROWS).float()
        image_count = len(images)
    training, inference = (texts, images) if store.training_modality == "texts" else (images, texts)
    for step in preceding:
        inference, training = step.inference_side(inference), step.clean_side(training)
    facts = {
        "data": options.data,
        "uses_pairs": paired,
        "image_split": split,
        "text_split": split if paired else store.text_split,
        "images": image_count,
        "texts": len(texts),
        "store_hash": store.hash,
    }
    return EstimationRows(inference, training, paired, facts)


def estimate_noise_std(rows: EstimationRows, root: Tensor | None = None) -> dict[str, Any]:
    """`noise_std` for these rows, a standard deviation per dimension, as `value`, with the facts of the estimate.

    For pairs it is that of the alignment noise (`EstimationRows.residual_std`). For unpaired rows it is the one with
    which noised training rows are as far from their nearest training row as inference rows are from theirs.

    Args:
        root: (D, D) what noise is multiplied by; its square has the trace D. None for isotropic noise.

    Raises:
        ValueError: no noise takes texts that far.
    """
    if rows.paired:
        value = rows.residual_std()
        return {"option": "noise_std", "value": value, "method": "sd of the pairs' residuals", **rows.facts}
    clean, target = rows.queries, rows.inference_nearness()
    noise = fixed_noise(clean) if root is None else fixed_noise(clean) @ root
    highest = 10 * clean.norm(dim=-1).mean().item() / clean.shape[1] ** 0.5  # cosine of noised to clean rows: 0.1

    def excess(std: float) -> float:
        return rows.training_nearness(clean + std * noise) - target

    if excess(highest) > 0:
        raise no_level("noise_std", target, excess(highest) + target)
    value = brentq(excess, 0.0, highest, xtol=1e-4) if excess(0.0) > 0 else 0.0
    facts = {"method": BY_NEARNESS, "nearest_text_cosine": target}
    return {"option": "noise_std", "value": value, **facts, **rows.facts}


def no_level(option: str, target: float, reached: float) -> ValueError:
    """The error of an estimate for which no noise is strong enough."""
    return ValueError(
        f"{option}=auto finds no value: images have the cosine {target:.3f} to their nearest texts (or, for image "
        f"generation, texts to their nearest images), less than rows that are nearly noise alone ({reached:.3f}). Is "
        f"there a Center before? Else give alignment.{option}=NUMBER"
    )


def fixed_noise(like: Tensor) -> Tensor:
    """Standard normal noise, the same in every run: an estimate must not change when a training resumes."""
    return normal_sampler(torch.Generator().manual_seed(0))(like)


def _subsample(rows: Tensor, count: int) -> Tensor:
    """At most `count` rows, evenly spaced."""
    return rows[evenly_spaced(len(rows), count)]


def _cosines(rows: Tensor, others: Tensor) -> Tensor:
    """(B, M) of rows (B, D) to others (M, D)."""
    return F.normalize(rows, dim=-1) @ F.normalize(others, dim=-1).T
