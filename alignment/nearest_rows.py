"""Searching the rows that are most similar to others, in parts."""

from __future__ import annotations

import torch
from torch import Tensor

SIMILARITIES_AT_ONCE = 2**26


def nearest_rows(
    queries: Tensor, rows: Tensor, count: int, groups: Tensor | None = None, row_groups: Tensor | None = None
) -> Tensor:
    """(N, count) int64: the `rows` (M, D) that are most similar to each of the queries (N, D), the most similar first.

    Args:
        groups, row_groups: (N,) and (M,); no row of a query's group is taken.
    """
    part, rows = max(SIMILARITIES_AT_ONCE // len(rows), 1), rows.float()
    chosen = []
    for numbers in torch.arange(len(queries), device=rows.device).split(part):
        similarities = queries[numbers].float() @ rows.T  # (B, M)
        if groups is not None and row_groups is not None:
            similarities.masked_fill_(groups[numbers, None] == row_groups, -torch.inf)
        chosen.append(similarities.topk(count, dim=1).indices)
    return torch.cat(chosen) if chosen else torch.empty(0, count, dtype=torch.long, device=rows.device)
