"""How varied pictures are: the mean cosine distance of pairs of them."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_distance(rows: Tensor) -> float:
    """The mean of 1 - cosine over all pairs of unit rows (N, D). Raises ValueError for a single one."""
    if len(rows) < 2:
        raise ValueError("one picture has no other to differ from")
    return _distances(rows.double().sum(0)[None], torch.tensor([len(rows)])).item()


def mean_distance_within(rows: Tensor, groups: Tensor) -> float:
    """The mean over groups of the mean distance of their pairs; groups of one row do not count.

    Args:
        rows: (N, D) unit rows.
        groups: (N,) int64, each row's group, from 0.

    Raises ValueError when no group has two rows.
    """
    counts = torch.bincount(groups)
    sums = torch.zeros(len(counts), rows.shape[1], dtype=torch.float64).index_add_(0, groups, rows.double())
    several = counts > 1
    if not several.any():
        raise ValueError("every sentence has one picture: generate several of each, with different seeds")
    return _distances(sums[several], counts[several]).mean().item()


def _distances(sums: Tensor, counts: Tensor) -> Tensor:
    """(G,): a group's n rows are of unit length, so their cosines with each other sum up to |sum|^2 - n."""
    return 1 - (sums.square().sum(1) - counts) / (counts * (counts - 1))
