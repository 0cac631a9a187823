"""The modality gap: the vector between images and texts, its length and its direction."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.geometry.sample import Embeddings, rounded, summary, with_histogram
from evaluation.geometry.spread import effective_dimension, principal_axes


def gap_statistics(embeddings: Embeddings, share: float, draws: int) -> dict:
    """Length and direction of the gap between the means (Liang et al., arXiv 2203.02053, section 2), without pairs.

    `orthogonality` has two measures per modality. C³'s is the cosine of the gap to `draws` differences between two rows
    of the modality, which is 0 where they are orthogonal. The other is the gap's angle to the span of the leading
    directions that hold `share` of the modality's variance, with the share of the gap's squared length inside the span,
    for the gap and for a random direction. `axes` has the sd of rows and the gap's absolute size along each
    principal axis of the variance within modalities.
    """
    gap = embeddings.gap
    return {
        "distance_of_means": gap.norm().item(),
        "orthogonality": {
            name: _orthogonality(embeddings, gap, rows, share, draws)
            for name, rows in (("images", embeddings.images), ("texts", embeddings.texts))
        },
        "axes": _along_axes(embeddings, gap),
    }


def _orthogonality(embeddings: Embeddings, gap: Tensor, rows: Tensor, share: float, draws: int) -> dict:
    first, second = embeddings.two_of(len(rows), draws)
    variances, axes = principal_axes(rows)
    held = effective_dimension(variances, share)
    inside = (axes[:, :held].T @ gap.double()).square().sum() / gap.double().square().sum().clamp(min=1e-30)
    inside = min(inside.item(), 1.0)
    return {
        "cosine_to_differences": with_histogram(F.cosine_similarity(gap, rows[first] - rows[second], dim=-1)),
        "span_dimensions": held,
        "share_inside_span": inside,
        "share_of_a_random_direction": held / len(gap),
        "angle_to_span_degrees": math.degrees(math.acos(math.sqrt(inside))),
    }


def _along_axes(embeddings: Embeddings, gap: Tensor) -> dict[str, list[float]]:
    images, texts = embeddings.images, embeddings.texts
    # Both modalities have the same weight, however many captions an image has.
    weights = ((len(images) / 2 / len(rows)) ** 0.5 for rows in (images, texts))
    within = torch.cat([w * (rows - rows.mean(0)) for w, rows in zip(weights, (images, texts), strict=True)])
    variances, axes = principal_axes(within)
    return {"sd": rounded(variances.sqrt()), "gap": rounded((axes.T @ gap.double()).abs())}


def paired_gap_statistics(embeddings: Embeddings) -> dict:
    """The gaps of single pairs, image - text: their lengths, and their cosines to the mean gap (C³, section 3)."""
    gaps = embeddings.gaps
    mean = gaps.mean(0)
    return {
        "length": summary(gaps.norm(dim=-1)),
        "length_of_mean": mean.norm().item(),
        "cosine_to_mean_gap": with_histogram(F.cosine_similarity(gaps, mean, dim=-1)),
    }
