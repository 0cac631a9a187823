"""In how many directions rows spread: spectra of their variance, and summaries of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import model_serializer, model_validator
from torch import Tensor

from evaluation.geometry.sample import rounded

LEADING = (1, 5, 10, 50)
_HOLDING = "dimensions_holding_"  # with the share after it, a key of geometry.json


@dataclass(frozen=True)
class Spread:
    """In how many directions rows spread.

    Attributes:
        leading_shares: {number of leading directions, as text: their share of the variance}.
        share: of the variance that `dimensions_holding_share` leading directions hold.
        spectrum: variances along the principal axes, largest first.
    """

    total_variance: float
    leading_shares: dict[str, float]
    share: float
    dimensions_holding_share: int
    participation_ratio: float
    entropy_rank: float
    spectrum: list[float] = field(default_factory=list)

    @model_serializer
    def to_json(self) -> dict[str, Any]:
        """The values in `geometry.json`, where the share is part of a key, such as `dimensions_holding_0.99`."""
        names = {"dimensions_holding_share": f"{_HOLDING}{self.share:g}"}
        return {names.get(name, name): value for name, value in vars(self).items() if name != "share"}

    @model_validator(mode="before")
    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that `to_json` wrote."""
        key = next(name for name in content if name.startswith(_HOLDING))
        others = {name: value for name, value in content.items() if name != key}
        return {**others, "share": float(key.removeprefix(_HOLDING)), "dimensions_holding_share": content[key]}


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


def spread_statistics(rows: Tensor, share: float) -> Spread:
    """Variance of rows (N, D), its shares in leading directions, effective dimensions, and its spectrum."""
    variances, _ = principal_axes(rows)
    total = variances.sum().clamp(min=torch.finfo(variances.dtype).tiny)
    return Spread(
        total_variance=total.item(),
        leading_shares={str(k): (variances[:k].sum() / total).item() for k in LEADING if k <= len(variances)},
        share=share,
        dimensions_holding_share=effective_dimension(variances, share),
        participation_ratio=participation_ratio(variances),
        entropy_rank=entropy_rank(variances),
        spectrum=rounded(variances),
    )
