"""Noise levels for an encoder, from its data: what `noise_std: auto` and `image_timestep: auto` are set to.

From `pairs`, a small validation set: the alignment noise (C³, arXiv 2401.08567, section 3) is measured.

From `unpaired` images and texts: an image counts as a text with noise on it, and the noise looked for is that which
takes texts as far from the nearest of the other texts as images are from theirs. Real alignment noise also leads to the
places of *other* texts, where images are near to some text but not to their own: levels tend to come out too low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor

from common.randomness import evenly_spaced, normal_sampler
from embedding_space.store import EmbeddingStore

DATA = ("unpaired", "pairs")
OPTIONS = {"data": "unpaired", "split": "val", "images": 1000}
TEXTS_AT_MOST = 20_000  # among which the nearest is looked for
QUERIES_AT_MOST = 500  # texts that are noised
BY_NEARNESS = "noised texts as near to their nearest text as images to theirs"
SAME_TEXT = 0.9999  # cosine above which two texts are one caption said twice


@dataclass(frozen=True)
class EstimationRows:
    """Rows as they reach the step whose option is to be set.

    images (N, D), texts (M, D); image_row (M,) int64, each text's image, None for unpaired rows; facts: what they are.
    """

    images: Tensor
    texts: Tensor
    image_row: Tensor | None
    facts: dict

    @property
    def mean_paired_cosine(self) -> float:
        return F.cosine_similarity(self.images[self.image_row], self.texts, dim=-1).mean().item()

    def residual_std(self) -> float:
        """Standard deviation a dimension of image - text over the pairs, about its mean: C³'s alignment noise."""
        differences = self.images[self.image_row] - self.texts
        return differences.var(dim=0).mean().sqrt().item()

    @cached_property
    def queries(self) -> Tensor:
        """(Q, D) evenly spaced texts, to be noised."""
        return _evenly(self.texts, QUERIES_AT_MOST)

    @cached_property
    def _own(self) -> Tensor:
        """(Q, M) bool: which texts are a query itself, or the same caption once more."""
        return _cosines(self.queries, self.texts) > SAME_TEXT

    def image_nearness(self) -> float:
        """Mean cosine of images to their nearest text."""
        nearest = [_cosines(part, self.texts).amax(dim=-1) for part in self.images.split(1024)]
        return torch.cat(nearest).mean().item()

    def text_nearness(self, noised: Tensor) -> float:
        """Mean cosine of `noised` (Q, D), made of `queries`, to the nearest text other than their own."""
        return _cosines(noised, self.texts).masked_fill_(self._own, -1.0).amax(dim=-1).mean().item()


def rows_for_estimate(
    store: EmbeddingStore, preceding: Sequence, option: str, estimate: Mapping | None = None
) -> EstimationRows:
    """The rows that an estimate of `option` reads, after the steps `preceding`.

    estimate: the alignment's `estimate`. `data`: `unpaired` (default): images of the store's image_mean_split, whose
    captions are not used, and texts of its text_split; `pairs`: images of `split` (val) with their captions. `images`:
    how many (1000), evenly spaced.

    Raises ValueError for other keys or values, and data that is not there.
    """
    if unknown := set(estimate or {}) - set(OPTIONS):
        raise ValueError(f"alignment.estimate has unknown keys {sorted(unknown)}; known: {', '.join(OPTIONS)}")
    data, split, count = {**OPTIONS, **(estimate or {})}.values()
    if data not in DATA:
        raise ValueError(f"data={data!r} must be one of {', '.join(DATA)} (option alignment.estimate.data)")
    if not isinstance(count, int) or count < 2:
        raise ValueError(f"images={count!r} must be a whole number, at least 2 (option alignment.estimate.images)")
    paired = data == "pairs"
    split = split if paired else store.manifest.image_mean_split
    if not store.tables.has("images", split):
        mend = "name another with alignment.estimate.split=..." if paired else "take alignment.estimate.data=pairs"
        raise ValueError(
            f"{option}=auto reads images of the split {split!r}, of which {store.path} has none: "
            f"give alignment.{option}=NUMBER, or {mend}"
        )
    images = store.images(split)
    if paired:
        image_row = torch.from_numpy(store.pairs(split))
        chosen = _evenly(torch.unique(image_row), count)
        place = torch.full((len(images),), -1).index_copy(0, chosen, torch.arange(len(chosen)))
        kept = place[image_row] >= 0
        images, texts, image_row = images[chosen], store.texts(split)[kept], place[image_row][kept]
    else:
        images = _evenly(images, count)
        texts, image_row = _evenly(store.texts(store.text_split, torch.float16), TEXTS_AT_MOST).float(), None
    for step in preceding:
        images, texts = step.inference_side(images), step.clean_side(texts)
    facts = {
        "data": data,
        "uses_pairs": paired,
        "image_split": split,
        "text_split": split if paired else store.text_split,
        "images": len(images),
        "texts": len(texts),
        "store_hash": store.hash,
    }
    return EstimationRows(images, texts, image_row, facts)


def estimate_noise_std(rows: EstimationRows) -> dict:
    """`noise_std` for these rows, standard deviation a dimension, as `value`, with the facts of the estimate.

    Paired: the alignment noise's own (`EstimationRows.residual_std`). Unpaired: that with which noised texts are as far
    from their nearest text as images from theirs. Raises ValueError when noise of any size does not take them that far.
    """
    if rows.image_row is not None:
        value = rows.residual_std()
        return {"option": "noise_std", "value": value, "method": "sd of the pairs' residuals", **rows.facts}
    texts, aim = rows.queries, rows.image_nearness()
    noise = fixed_noise(texts)
    most = (
        10 * texts.norm(dim=-1).mean().item() / texts.shape[1] ** 0.5
    )  # cosine 0.1 between a text and its noised self

    def excess(std: float) -> float:
        return rows.text_nearness(texts + std * noise) - aim

    if excess(most) > 0:
        raise no_level("noise_std", aim, excess(most) + aim)
    value = brentq(excess, 0.0, most, xtol=1e-4) if excess(0.0) > 0 else 0.0
    facts = {"method": BY_NEARNESS, "nearest_text_cosine": aim}
    return {"option": "noise_std", "value": value, **facts, **rows.facts}


def no_level(option: str, aim: float, reached: float) -> ValueError:
    """The error of an estimate that finds no noise strong enough."""
    return ValueError(
        f"{option}=auto finds no value: images have the cosine {aim:.3f} to their nearest texts, less than texts that "
        f"are nearly noise alone ({reached:.3f}). Is there a Center before? Else give alignment.{option}=NUMBER"
    )


def fixed_noise(like: Tensor) -> Tensor:
    """Standard normal noise, the same in every run: an estimate must come out alike when a training resumes."""
    return normal_sampler(torch.Generator().manual_seed(0))(like)


def _evenly(rows: Tensor, count: int) -> Tensor:
    """At most `count` rows, evenly spaced."""
    return rows[evenly_spaced(len(rows), count)]


def _cosines(rows: Tensor, texts: Tensor) -> Tensor:
    """(B, M) of rows (B, D) to texts (M, D)."""
    return F.normalize(rows, dim=-1) @ F.normalize(texts, dim=-1).T
