"""Retrieval between images and captions, and two measures of how near the two modalities are.

Ties are broken at random, in expectation: an item that shares its similarity with t others takes each of their t + 1
places with equal chance, so a constant embedding scores chance level (R@1 = 1/N), where breaking ties by position would
give it 1 or 0. Similarities within 1e-6 are ties, since float32 products of equal rows differ by about that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

_TIE = 1e-6
_ELEMENTS_A_CHUNK = 2**23  # similarities in memory at a time: 32 MB, and a few times that for masks


@dataclass(frozen=True)
class RetrievalScores:
    """One direction of retrieval: recalls are fractions of the queries (0 to 1), the median rank counts from 1."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    queries: int

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class TranslationMetrics(RetrievalScores):
    """Retrieval by rows that were translated into the other space, and their mean cosine to their pairs' rows."""

    similarity: float


@dataclass(frozen=True)
class RetrievalResult:
    """Retrieval in both directions, and how near the modalities are."""

    image_to_text: RetrievalScores
    text_to_image: RetrievalScores
    paired_cosine: float
    centroid_distance: float


@dataclass(frozen=True)
class Gap:
    """What an alignment leaves of the modality gap. Results of earlier versions lack the last two values."""

    paired_cosine: float
    centroid_distance: float
    image_to_text_recall_at_1: float
    image_to_text_recall_at_10: float
    pair_distance: float | None = None
    distribution_gap: float | None = None


def image_to_text(images: Tensor, texts: Tensor, image_rows: Tensor) -> RetrievalScores:
    """How often one of an image's captions is among the k captions nearest to it, by cosine.

    images: (N, D) unit rows; texts: (M, D) unit rows; image_rows: (M,) int, the row of each caption's image. The rank
    of an image is that of its best caption. Images without captions are no queries. Memory stays constant in N and M.
    Raises ValueError when shapes do not fit, a row is not of unit length, or a row number is outside the images.
    """
    images, texts, image_rows = _checked(images, texts, image_rows)
    described = torch.unique(image_rows)
    tallies = []
    for rows in _chunks(described, len(texts)):
        similarity = _cosines(images[rows], texts)  # (C, M)
        is_pair = image_rows[None, :] == rows[:, None]  # (C, M)
        best = similarity.masked_fill(~is_pair, -torch.inf).amax(dim=1, keepdim=True)  # (C, 1)
        level = (similarity - best).abs() <= _TIE
        above = (similarity > best + _TIE).sum(1)  # captions of other images, since `best` is the own one's
        tallies.append(torch.stack([above, (level & ~is_pair).sum(1), (level & is_pair).sum(1)]))
    return _scores(torch.cat(tallies, dim=1))


def text_to_image(images: Tensor, texts: Tensor, image_rows: Tensor) -> RetrievalScores:
    """How often a caption's image is among the k images nearest to it, by cosine. Arguments as in `image_to_text`."""
    images, texts, image_rows = _checked(images, texts, image_rows)
    tallies = []
    for rows in _chunks(torch.arange(len(texts), device=texts.device), len(images)):
        similarity = _cosines(texts[rows], images)  # (C, N)
        of_pair = similarity.gather(1, image_rows[rows, None])  # (C, 1)
        above = (similarity > of_pair + _TIE).sum(1)
        level = ((similarity - of_pair).abs() <= _TIE).sum(1) - 1
        tallies.append(torch.stack([above, level, torch.ones_like(above)]))
    return _scores(torch.cat(tallies, dim=1))


def retrieve(images: Tensor, texts: Tensor, image_rows: Tensor) -> RetrievalResult:
    """Both directions, and how near the modalities are; arguments as in `image_to_text`."""
    return RetrievalResult(
        image_to_text(images, texts, image_rows),
        text_to_image(images, texts, image_rows),
        paired_cosine(images, texts, image_rows),
        centroid_distance(images, texts),
    )


def remaining_gap(images: Tensor, texts: Tensor, image_rows: Tensor) -> Gap:
    """How near aligned images (N, D) come to their texts (M, D); `image_rows` as in `image_to_text`. Texts are aligned
    without diffusion or noise, so that all methods have the same target."""
    retrieved = image_to_text(images, texts, image_rows)
    return Gap(
        paired_cosine(images, texts, image_rows),
        centroid_distance(images, texts),
        retrieved.recall_at_1,
        retrieved.recall_at_10,
        pair_distance(images, texts, image_rows),
        distribution_gap(images, texts, image_rows),
    )


def paired_cosine(images: Tensor, texts: Tensor, image_rows: Tensor) -> float:
    """Mean over images of the mean cosine to their captions; arguments as in `image_to_text`."""
    images, texts, image_rows = _checked(images, texts, image_rows)
    cosines = torch.cat([(images[image_rows[r]] * texts[r]).sum(1) for r in _chunks(torch.arange(len(texts)), 2048)])
    image_rows = image_rows.cpu()
    total = torch.zeros(len(images), dtype=torch.float64).index_add_(0, image_rows, cosines.cpu().double())
    captions = torch.bincount(image_rows, minlength=len(images))
    described = captions > 0
    return (total[described] / captions[described]).mean().item()


def pair_distance(images: Tensor, texts: Tensor, image_rows: Tensor) -> float:
    """Mean Euclidean distance of a caption (M, D) to its image (N, D), of any length; `image_rows` names it, (M,)."""
    rows = torch.arange(len(texts), device=texts.device)
    parts = [(images[image_rows[r]].float() - texts[r].float()).norm(dim=1) for r in _chunks(rows, 2048)]
    return torch.cat(parts).double().mean().item()


def distribution_gap(images: Tensor, texts: Tensor, image_rows: Tensor) -> float:
    """The `pair_distance` that is left when each modality's mean is subtracted.

    It is our reading of the distribution gap of TPC-CMA (arXiv 2604.00279): what aligning the centroids leaves.
    """
    images, texts = (rows.float() - rows.float().mean(0) for rows in (images, texts))
    return pair_distance(images, texts, image_rows)


def centroid_distance(images: Tensor, texts: Tensor) -> float:
    """Euclidean distance between the two modalities' means, (N, D) and (M, D): the gap of Liang et al. (2022,
    arXiv:2203.02053, section 2)."""
    return (images.float().mean(0) - texts.float().mean(0)).norm().item()


def _checked(images: Tensor, texts: Tensor, image_rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if images.ndim != 2 or texts.ndim != 2 or images.shape[1] != texts.shape[1]:
        raise ValueError(f"images (N, D) and texts (M, D) must share D, got {_shape(images)} and {_shape(texts)}")
    if image_rows.shape != texts.shape[:1] or image_rows.is_floating_point() or not len(texts):
        raise ValueError(f"image_rows must hold one row number a text, got {_shape(image_rows)} for {_shape(texts)}")
    if image_rows.min() < 0 or image_rows.max() >= len(images):
        worst = int(image_rows.min() if image_rows.min() < 0 else image_rows.max())
        raise ValueError(f"image_rows names row {worst}, but there are {len(images)} images")
    for name, rows in (("images", images), ("texts", texts)):
        lengths = rows.float().norm(dim=1)
        if not bool(((lengths - 1).abs() < 1e-2).all()):  # NaN fails too; float16 rows are within 1e-3
            worst_row = int((lengths - 1).abs().nan_to_num(torch.inf).argmax())
            raise ValueError(f"{name} must have unit rows, but row {worst_row} has length {lengths[worst_row]:.3g}")
    return images.float(), texts.float(), image_rows.to(device=images.device, dtype=torch.int64)


def _cosines(rows: Tensor, others: Tensor) -> Tensor:
    with torch.autocast(rows.device.type, enabled=False):  # a training loop's would round them to a few hundred values
        return rows @ others.T


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _chunks(rows: Tensor, width: int) -> Iterator[Tensor]:
    return iter(rows.split(max(1, _ELEMENTS_A_CHUNK // width)))


def _scores(tallies: Tensor) -> RetrievalScores:
    """tallies: (3, Q): wrong items above a query's best right one; wrong items, and right items, level with that."""
    above, wrong, right = tallies.cpu().double()
    recalls = [(1 - _all_wrong(k - above, wrong, right)).mean().item() for k in (1, 5, 10)]
    # The first of r right items among w wrong ones, shuffled, is expected at place 1 + w / (r + 1).
    ranks = above + 1 + wrong / (right + 1)
    return RetrievalScores(*recalls, median_rank=ranks.quantile(0.5).item(), queries=len(above))


def _all_wrong(places: Tensor, wrong: Tensor, right: Tensor) -> Tensor:
    """Chance that the first n places of a shuffled list of w wrong and r right items are all wrong:
    C(w, n) / C(w + r, n)."""
    places = places.clamp(min=0)
    log_chance = (
        torch.lgamma(wrong + 1)
        - torch.lgamma((wrong - places).clamp(min=0) + 1)
        - torch.lgamma(wrong + right + 1)
        + torch.lgamma((wrong + right - places).clamp(min=0) + 1)
    )
    return torch.where(places <= wrong, log_chance.exp(), torch.zeros_like(log_chance))
