"""Random numbers that depend on (seed, step) alone, not on the number of processes or on interruptions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def mixed_seed(*parts: int) -> int:
    """One well-mixed 63-bit seed from several integers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def seeded_normal(device: torch.device | str, *parts: int) -> Callable[[Tensor], Tensor]:
    """A sampler of standard normal noise like a tensor; its sequence is that of the seed made of `parts`."""
    generator = torch.Generator(device).manual_seed(mixed_seed(*parts))

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=device).to(like)

    return normal


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


class StepRandom:
    """The random numbers of one step: drawn for the global batch, of which this process keeps its rows.

    Args:
        seed: the run's seed.
        step: the optimiser step, from 0.
        global_rows: rows of the global batch.
        rows: the slice of the global batch that this process (and micro-batch) works on.
    """

    def __init__(self, seed: int, step: int, global_rows: int, rows: slice, device: torch.device | str = "cpu"):
        self.step = step
        self.global_rows = global_rows
        self.rows = rows
        self.device = torch.device(device)
        self._generator = torch.Generator(self.device).manual_seed(mixed_seed(seed, step))

    def normal_like(self, like: Tensor) -> Tensor:
        """Standard normal noise (rows, ...) of `like`'s shape, dtype and device."""
        noise = torch.randn(
            self.global_rows,
            *like.shape[1:],
            generator=self._generator,
            device=self.device,
            dtype=torch.float32,
        )
        return noise[self.rows].to(like)

    def integers(self, high: int) -> Tensor:
        """(rows,) int64, uniform in [0, high)."""
        return torch.randint(high, (self.global_rows,), generator=self._generator, device=self.device)[self.rows]


class EpochOrder:
    """Which items make the global batch of each step: every item once an epoch, in a fresh order each epoch.

    A last batch that would be short is dropped; its items have their turn in another epoch. With `lengths`, items of
    similar length share a batch: shuffled items are sorted within pools of `POOL` batches, then batches shuffled.

    Args:
        items: how many there are. Fewer than a batch are repeated until they fill one.
        batch_size: items in a global batch.
        seed: the run's seed.
        lengths: (items,) lengths in tokens, or None.
    """

    POOL = 50

    def __init__(self, items: int, batch_size: int, seed: int, lengths: Tensor | None = None):
        if items < 1:
            raise ValueError("There is nothing to train on: the training split is empty")
        self.items, self.batch_size, self.seed, self.lengths = items, batch_size, seed, lengths
        self.batches = max(items // batch_size, 1)
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    def batch(self, step: int) -> Tensor:
        """(batch_size,) int64 item numbers of the global batch of `step`."""
        epoch, batch = divmod(step, self.batches)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._draw(epoch)
        return self._order[batch]

    def _draw(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, 1, epoch))
        order = torch.randperm(self.items, generator=generator)
        order = order.repeat(-(-self.batch_size // self.items))[: self.batches * self.batch_size]
        if self.lengths is not None:
            pools = order.split(self.POOL * self.batch_size)
            order = torch.cat([pool[self.lengths[pool].argsort(stable=True)] for pool in pools])
        order = order.view(self.batches, self.batch_size)
        if self.lengths is not None:
            order = order[torch.randperm(self.batches, generator=generator)]
        return order
