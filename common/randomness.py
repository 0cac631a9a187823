"""Random numbers that depend on (seed, step) alone, not on the number of processes or on interruptions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def mixed_seed(*parts: int) -> int:
    """One well-mixed 63-bit seed from several integers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1


def seeded_normal(device: torch.device | str, *parts: int) -> Callable[[Tensor], Tensor]:
    """A sampler of standard normal noise like a tensor; its sequence is that of the seed made of `parts`."""
    return normal_sampler(torch.Generator(device).manual_seed(mixed_seed(*parts)))


def normal_sampler(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """A sampler of standard normal noise like a tensor, drawn from the generator."""

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=generator.device).to(like)

    return normal


def evenly_spaced(rows: int, count: int, nearest: bool = False) -> Tensor:
    """(at most `count`,) increasing int64: so many of `rows` rows, from the first to the last.

    Args:
        nearest: round the places between rows to the nearest one instead of down.
    """
    if count >= rows:
        return torch.arange(rows)
    exact = rows <= 1 << 24  # above, float32 has no place for every row
    places = torch.linspace(0, rows - 1, count, dtype=torch.float32 if exact else torch.float64)
    return (places.round() if nearest else places).long()


def drawn_rows(rows: int, count: int, *parts: int) -> Tensor:
    """(count,) int64, increasing: so many of `rows` rows, drawn by the seed made of `parts`; all if there are fewer."""
    if count >= rows:
        return torch.arange(rows)
    generator = torch.Generator().manual_seed(mixed_seed(*parts))
    return torch.randperm(rows, generator=generator)[:count].sort().values


def drawn_groups(groups: Tensor, count: int, *parts: int) -> Tensor:
    """Increasing int64 rows of whole groups, drawn by the seed made of `parts` until they are `count` or more; `groups`
    (M,) has each row's number, 0 to G - 1. Groups of one row give what `drawn_rows` does."""
    sizes = torch.bincount(groups)
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(mixed_seed(*parts)))
    enough = int(torch.searchsorted(sizes[order].cumsum(0), count)) + 1
    return torch.isin(groups, order[:enough]).nonzero()[:, 0]


def without(rows: int, left_out: Tensor) -> Tensor:
    """The rows 0..rows - 1 that are not in `left_out`, in order."""
    return torch.ones(rows, dtype=torch.bool).index_fill(0, left_out, False).nonzero()[:, 0]
