"""The modality gap: the vector between images and texts, its length and its direction."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.geometry.sample import Cosines, Embeddings, Summary, rounded
from evaluation.geometry.spread import effective_dimension, principal_axes


@dataclass(frozen=True)
class Orthogonality:
    """How orthogonal the gap is to a modality, by two measures.

    C³'s is the gap's cosine to differences between two rows, which is 0 where they are orthogonal. The other is the
    gap's angle to the span of the leading directions that hold most of the variance, with the share of the gap's
    squared length inside the span, for the gap and for a random direction.
    """

    cosine_to_differences: Cosines
    span_dimensions: int
    share_inside_span: float
    share_of_a_random_direction: float
    angle_to_span_degrees: float


@dataclass(frozen=True)
class GapAlongAxes:
    """Along each principal axis of the variance within modalities: the rows' sd, and the gap's absolute size."""

    sd: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class MeanGap:
    """Length and direction of the gap between the means. `orthogonality` is to `images` and to `texts`."""

    distance_of_means: float
    orthogonality: dict[str, Orthogonality]
    axes: GapAlongAxes


@dataclass(frozen=True)
class PairedGaps:
    """The gaps of single pairs: their lengths, and their cosines to the mean gap."""

    length: Summary
    length_of_mean: float
    cosine_to_mean_gap: Cosines


def gap_statistics(embeddings: Embeddings, share: float, draws: int) -> MeanGap:
    """The gap between the means (Liang et al., arXiv 2203.02053, section 2), without pairs.

    Args:
        share: of a modality's variance, which the leading directions of its span hold.
        draws: of two rows of a modality, to whose difference the gap is compared.
    """
    gap = embeddings.gap
    return MeanGap(
        distance_of_means=gap.norm().item(),
        orthogonality={
            name: _orthogonality(embeddings, gap, rows, share, draws)
            for name, rows in (("images", embeddings.images), ("texts", embeddings.texts))
        },
        axes=_along_axes(embeddings, gap),
    )


def _orthogonality(embeddings: Embeddings, gap: Tensor, rows: Tensor, share: float, draws: int) -> Orthogonality:
    first, second = embeddings.two_of(len(rows), draws)
    variances, axes = principal_axes(rows)
    held = effective_dimension(variances, share)
    inside = (axes[:, :held].T @ gap.double()).square().sum() / gap.double().square().sum().clamp(min=1e-30)
    inside = min(inside.item(), 1.0)
    return Orthogonality(
        cosine_to_differences=Cosines.of(F.cosine_similarity(gap, rows[first] - rows[second], dim=-1)),
        span_dimensions=held,
        share_inside_span=inside,
        share_of_a_random_direction=held / len(gap),
        angle_to_span_degrees=math.degrees(math.acos(math.sqrt(inside))),
    )


def _along_axes(embeddings: Embeddings, gap: Tensor) -> GapAlongAxes:
    images, texts = embeddings.images, embeddings.texts
    # Both modalities have the same weight, however many captions an image has; all weights together are the rows.
    weights = (((len(images) + len(texts)) / 2 / len(rows)) ** 0.5 for rows in (images, texts))
    within = torch.cat([w * (rows - rows.mean(0)) for w, rows in zip(weights, (images, texts), strict=True)])
    variances, axes = principal_axes(within)
    return GapAlongAxes(sd=rounded(variances.sqrt()), gap=rounded((axes.T @ gap.double()).abs()))


def paired_gap_statistics(embeddings: Embeddings) -> PairedGaps:
    """The gaps of single pairs, image - text (C³, section 3)."""
    gaps = embeddings.gaps
    mean = gaps.mean(0)
    return PairedGaps(
        length=Summary.of(gaps.norm(dim=-1)),
        length_of_mean=mean.norm().item(),
        cosine_to_mean_gap=Cosines.of(F.cosine_similarity(gaps, mean, dim=-1)),
    )
