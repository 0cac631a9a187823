"""Alignment noise (C³, arXiv 2401.08567, section 3): each pair's gap less the mean gap."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats

from evaluation.geometry.sample import Embeddings, rounded, summary, with_histogram
from evaluation.geometry.spread import spread_statistics

LEVEL = 0.05
# A higher A*² is not normal at the level 0.05, for estimated mean and variance (Stephens, 1974).
ANDERSON_DARLING_LIMIT = 0.752


def residual_statistics(embeddings: Embeddings, share: float, draws: int) -> dict:
    """Mean, spread, direction and Gaussianity of the residuals: each pair's gap less the mean of all gaps.

    `offset_in_sd` is the mean gap in each dimension, in standard deviations of the gaps (the residuals' mean is zero).
    `sd` is the standard deviation per dimension. `cosine` is between residuals of two images; its sd would be 1/√D
    for isotropic noise. `gaussianity` reads one pair per image, so that its samples are independent.
    """
    gaps = embeddings.gaps
    residuals = gaps - gaps.mean(0)
    sd = residuals.std(0)
    first = embeddings.first_texts
    one, other = embeddings.two_of(len(first), draws)
    return {
        "pairs": len(residuals),
        "norm": summary(residuals.norm(dim=-1)),
        "sd_rms": sd.square().mean().sqrt().item(),
        "sd": rounded(sd),
        "offset_in_sd": rounded(gaps.mean(0) / sd.clamp(min=1e-12)),
        "cosine": {
            **with_histogram(F.cosine_similarity(residuals[first[one]], residuals[first[other]], dim=-1)),
            "sd_if_isotropic": embeddings.dim**-0.5,
        },
        "spread": spread_statistics(residuals, share),
        "gaussianity": gaussianity(residuals[first].double().numpy()),
    }


def gaussianity(samples: np.ndarray) -> dict:
    """Tests of each dimension of samples (N, D): D'Agostino and Pearson's K², and Anderson and Darling's A².

    They are shares of dimensions rejected at the level 0.05; for K² also after Benjamini and Hochberg's correction for
    the D tests. With many samples, tests reject tiny deviations: `skewness` and `excess_kurtosis` say how large they
    are. Tests are None with fewer than 20 samples or no variance.
    """
    count, dims = samples.shape
    varying = samples.std(axis=0) > 1e-9
    counts = {"samples": count, "dimensions": dims, "dimensions_tested": int(varying.sum())}
    if count < 20 or not varying.any():
        return {**counts, "dagostino": None, "anderson_darling": None, "skewness": None, "excess_kurtosis": None}
    samples = samples[:, varying]
    p = stats.normaltest(samples, axis=0).pvalue
    shape = {"skewness": stats.skew(samples, axis=0), "excess_kurtosis": stats.kurtosis(samples, axis=0)}
    return {
        **counts,
        "dagostino": {
            "share_rejected": float((p < LEVEL).mean()),
            "share_rejected_benjamini_hochberg": float((stats.false_discovery_control(p) < LEVEL).mean()),
        },
        "anderson_darling": {"share_rejected": float((anderson_darling(samples) > ANDERSON_DARLING_LIMIT).mean())},
        **{name: {**summary(torch.from_numpy(values)), "values": rounded(values)} for name, values in shape.items()},
    }


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
