"""Alignment noise (C³, arXiv 2401.08567, section 3): each pair's gap less the mean gap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats

from evaluation.geometry.sample import Cosines, Embeddings, Summary, rounded
from evaluation.geometry.spread import Spread, spread_statistics

LEVEL = 0.05
# A higher A*² is not normal at the level 0.05, for estimated mean and variance (Stephens, 1974).
ANDERSON_DARLING_LIMIT = 0.752


@dataclass(frozen=True)
class Rejections:
    """The share of dimensions whose values a test takes for not normal, at the level 0.05."""

    share_rejected: float


@dataclass(frozen=True)
class CorrectedRejections(Rejections):
    """Also after Benjamini and Hochberg's correction for as many tests as dimensions."""

    share_rejected_benjamini_hochberg: float


@dataclass(frozen=True)
class ByDimension(Summary):
    """A summary of one value per dimension, and the values."""

    values: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, values: torch.Tensor) -> ByDimension:
        return cls(values.mean().item(), values.std().item(), rounded(values))


@dataclass(frozen=True)
class Gaussianity:
    """Tests of each dimension: D'Agostino and Pearson's K², and Anderson and Darling's A².

    With many samples, tests reject tiny deviations: skewness and excess kurtosis say how large they are. All four are
    None with fewer than 20 samples or no variance.
    """

    samples: int
    dimensions: int
    dimensions_tested: int
    dagostino: CorrectedRejections | None = None
    anderson_darling: Rejections | None = None
    skewness: ByDimension | None = None
    excess_kurtosis: ByDimension | None = None


@dataclass(frozen=True, kw_only=True)
class ResidualCosines(Cosines):
    """Cosines between residuals, and what their sd would be for isotropic noise: 1/√D."""

    sd_if_isotropic: float


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Mean, spread, direction and Gaussianity of the residuals of pairs.

    Attributes:
        norm: of the residuals' lengths.
        sd_rms: root mean square of `sd`, the standard deviation in each dimension.
        offset_in_sd: the mean gap in each dimension, in standard deviations of the gaps (the residuals' mean is zero).
        cosine: between residuals of two images.
        gaussianity: of one pair per image, so that its samples are independent.
    """

    pairs: int
    norm: Summary
    sd_rms: float
    sd: list[float] = field(default_factory=list)
    offset_in_sd: list[float] = field(default_factory=list)
    cosine: ResidualCosines
    spread: Spread
    gaussianity: Gaussianity


def residual_statistics(embeddings: Embeddings, share: float, draws: int) -> Residuals:
    """The residuals: each pair's gap less the mean of all gaps."""
    gaps = embeddings.gaps
    residuals = gaps - gaps.mean(0)
    sd = residuals.std(0)
    first = embeddings.first_texts
    one, other = embeddings.two_of(len(first), draws)
    cosine = Cosines.of(F.cosine_similarity(residuals[first[one]], residuals[first[other]], dim=-1))
    return Residuals(
        pairs=len(residuals),
        norm=Summary.of(residuals.norm(dim=-1)),
        sd_rms=sd.square().mean().sqrt().item(),
        sd=rounded(sd),
        offset_in_sd=rounded(gaps.mean(0) / sd.clamp(min=1e-12)),
        cosine=ResidualCosines(**vars(cosine), sd_if_isotropic=embeddings.dim**-0.5),
        spread=spread_statistics(residuals, share),
        gaussianity=gaussianity(residuals[first].double().numpy()),
    )


def gaussianity(samples: np.ndarray) -> Gaussianity:
    """Tests of each dimension of samples (N, D)."""
    count, dims = samples.shape
    varying = samples.std(axis=0) > 1e-9
    counts = count, dims, int(varying.sum())
    if count < 20 or not varying.any():
        return Gaussianity(*counts)
    samples = samples[:, varying]
    p = stats.normaltest(samples, axis=0).pvalue
    corrected = stats.false_discovery_control(p)
    return Gaussianity(
        *counts,
        dagostino=CorrectedRejections(float((p < LEVEL).mean()), float((corrected < LEVEL).mean())),
        anderson_darling=Rejections(float((anderson_darling(samples) > ANDERSON_DARLING_LIMIT).mean())),
        skewness=ByDimension.of(torch.from_numpy(stats.skew(samples, axis=0))),
        excess_kurtosis=ByDimension.of(torch.from_numpy(stats.kurtosis(samples, axis=0))),
    )


def anderson_darling(samples: np.ndarray) -> np.ndarray:
    """(D,) A*² of each column of samples (N, D), for a normal distribution with estimated mean and variance.

    It is corrected for N as in Stephens (1974). `scipy.stats.anderson` takes one column, and since 1.17 an argument
    without which it warns and which older versions refuse.
    """
    count = len(samples)
    z = np.sort((samples - samples.mean(axis=0)) / samples.std(axis=0, ddof=1), axis=0)
    odd = (2 * np.arange(1, count + 1) - 1)[:, None]
    square = -count - (odd * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1]))).mean(axis=0)
    return square * (1 + 0.75 / count + 2.25 / count**2)
