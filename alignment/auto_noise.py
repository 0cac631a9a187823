"""Noise levels for an encoder, from its data: the values of `noise_std: auto` and `image_timestep: auto`.

From `pairs`, a small validation set, we measure the alignment noise (C³, arXiv 2401.08567, section 3).

From `unpaired` images and texts, we treat an image as a noised text. We choose the noise level at which noised texts
are, on average, as far from their nearest other text as images are from theirs. Real alignment noise also moves images
towards *other* texts, where they are near some text but not their own, so these levels tend to be too low.
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

MAX_TEXTS = 20_000  # among which the nearest is searched
MAX_QUERIES = 500  # texts that are noised
BY_NEARNESS = "noised texts as near to their nearest text as images to theirs"
SAME_TEXT = 0.9999  # cosine above which two texts are the same caption


@checked_dataclass("alignment.estimate.")
class EstimateOptions:
    """Which data an estimate reads.

    Attributes:
        data: `unpaired`, images of the store's image_mean_split, whose captions are not used, and texts of its
            text_split; or `pairs`, images of `split` with their captions.
        split: of the pairs.
        images: how many are read, evenly spaced.
    """

    data: Literal["unpaired", "pairs"] = "unpaired"
    split: str = "val"
    images: Annotated[int, Field(ge=2)] = 1000


@dataclass(frozen=True)
class EstimationRows:
    """Rows as they reach the step whose option is estimated.

    Attributes:
        images: (N, D).
        texts: (M, D).
        image_row: (M,) int64, each text's image; None for unpaired rows.
        facts: which data they come from.
    """

    images: Tensor
    texts: Tensor
    image_row: Tensor | None
    facts: dict[str, Any]

    def residual_std(self) -> float:
        """Standard deviation per dimension of image - text over the pairs, about its mean: C³'s alignment noise."""
        differences = self.images[self.image_row] - self.texts
        return differences.var(dim=0).mean().sqrt().item()

    @cached_property
    def queries(self) -> Tensor:
        """(Q, D) evenly spaced texts, to be noised."""
        return _subsample(self.texts, MAX_QUERIES)

    @cached_property
    def _same_caption(self) -> Tensor:
        """(Q, M) bool: which texts are the query itself or a copy of it."""
        return _cosines(self.queries, self.texts) > SAME_TEXT

    def image_nearness(self) -> float:
        """Mean cosine of images to their nearest text."""
        nearest = [_cosines(part, self.texts).amax(dim=-1) for part in self.images.split(1024)]
        return torch.cat(nearest).mean().item()

    def text_nearness(self, noised: Tensor) -> float:
        """Mean cosine of `noised` (Q, D), made from `queries`, to the nearest other text."""
        return _cosines(noised, self.texts).masked_fill_(self._same_caption, -1.0).amax(dim=-1).mean().item()


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
    images = store.images(split)
    if paired:
        image_row = torch.from_numpy(store.pairs(split))
        chosen = _subsample(torch.unique(image_row), options.images)
        place = torch.full((len(images),), -1).index_copy(0, chosen, torch.arange(len(chosen)))
        kept = place[image_row] >= 0
        images, texts, image_row = images[chosen], store.texts(split)[kept], place[image_row][kept]
    else:
        images = _subsample(images, options.images)
        texts, image_row = _subsample(store.texts(store.text_split, torch.float16), MAX_TEXTS).float(), None
    for step in preceding:
        images, texts = step.inference_side(images), step.clean_side(texts)
    facts = {
        "data": options.data,
        "uses_pairs": paired,
        "image_split": split,
        "text_split": split if paired else store.text_split,
        "images": len(images),
        "texts": len(texts),
        "store_hash": store.hash,
    }
    return EstimationRows(images, texts, image_row, facts)


def estimate_noise_std(rows: EstimationRows) -> dict[str, Any]:
    """`noise_std` for these rows, a standard deviation per dimension, as `value`, with the facts of the estimate.

    For pairs it is that of the alignment noise (`EstimationRows.residual_std`). For unpaired rows it is the one with
    which noised texts are as far from their nearest text as images are from theirs.

    Raises:
        ValueError: no noise takes texts that far.
    """
    if rows.image_row is not None:
        value = rows.residual_std()
        return {"option": "noise_std", "value": value, "method": "sd of the pairs' residuals", **rows.facts}
    texts, target = rows.queries, rows.image_nearness()
    noise = fixed_noise(texts)
    highest = 10 * texts.norm(dim=-1).mean().item() / texts.shape[1] ** 0.5  # cosine of noised to clean texts: 0.1

    def excess(std: float) -> float:
        return rows.text_nearness(texts + std * noise) - target

    if excess(highest) > 0:
        raise no_level("noise_std", target, excess(highest) + target)
    value = brentq(excess, 0.0, highest, xtol=1e-4) if excess(0.0) > 0 else 0.0
    facts = {"method": BY_NEARNESS, "nearest_text_cosine": target}
    return {"option": "noise_std", "value": value, **facts, **rows.facts}


def no_level(option: str, target: float, reached: float) -> ValueError:
    """The error of an estimate for which no noise is strong enough."""
    return ValueError(
        f"{option}=auto finds no value: images have the cosine {target:.3f} to their nearest texts, less than texts "
        f"that are nearly noise alone ({reached:.3f}). Is there a Center before? Else give alignment.{option}=NUMBER"
    )


def fixed_noise(like: Tensor) -> Tensor:
    """Standard normal noise, the same in every run: an estimate must not change when a training resumes."""
    return normal_sampler(torch.Generator().manual_seed(0))(like)


def _subsample(rows: Tensor, count: int) -> Tensor:
    """At most `count` rows, evenly spaced."""
    return rows[evenly_spaced(len(rows), count)]


def _cosines(rows: Tensor, texts: Tensor) -> Tensor:
    """(B, M) of rows (B, D) to texts (M, D)."""
    return F.normalize(rows, dim=-1) @ F.normalize(texts, dim=-1).T
