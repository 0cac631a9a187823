"""In how many directions rows spread: spectra of their variance, and summaries of them."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluation.geometry.sample import rounded

LEADING = (1, 5, 10, 50)


def principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Variances (D,) along the principal axes of rows (N, D), largest first, and the axes (D, D) as columns."""
    centered = (rows - rows.mean(0)).double()
    variances, axes = torch.linalg.eigh(centered.T @ centered / (len(rows) - 1))
    return variances.flip(0).clamp(min=0), axes.flip(1)


def effective_dimension(variances: Tensor, share: float) -> int:
    """How many leading directions hold `share` of the variance: C³'s measure, at 0.99. 0 where there is no variance."""
    held = variances.cumsum(0)
    return int((held < share * held[-1] * (1 - 1e-12)).sum()) + 1 if held[-1] > 0 else 0


def participation_ratio(variances: Tensor) -> float:
    """(sum of variances)² / sum of squared variances: D for equal directions, 1 where one has all variance."""
    total = variances.square().sum()
    return (variances.sum() ** 2 / total).item() if total > 0 else 0.0


def entropy_rank(variances: Tensor) -> float:
    """Exponential of the entropy of the shares of variance (effective rank: Roy and Vetterli, EUSIPCO 2007)."""
    shares = variances / variances.sum()
    return torch.special.entr(shares).sum().exp().item() if variances.sum() > 0 else 0.0


def spread_statistics(rows: Tensor, share: float) -> dict:
    """Variance of rows (N, D), its shares in leading directions, effective dimensions, and its `spectrum`."""
    variances, _ = principal_axes(rows)
    total = variances.sum().clamp(min=torch.finfo(variances.dtype).tiny)
    return {
        "total_variance": total.item(),
        "leading_shares": {str(k): (variances[:k].sum() / total).item() for k in LEADING if k <= len(variances)},
        f"dimensions_holding_{share:g}": effective_dimension(variances, share),
        "participation_ratio": participation_ratio(variances),
        "entropy_rank": entropy_rank(variances),
        "spectrum": rounded(variances),
    }
