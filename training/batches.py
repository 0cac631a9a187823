"""Order and random numbers of training steps. They depend on (seed, step), not on processes or interruptions."""

from __future__ import annotations

import torch
from torch import Tensor

from common.randomness import mixed_seed


class StepRandom:
    """The random numbers of one step, drawn for the global batch; this process keeps its rows.

    Args:
        seed: the run's seed.
        step: the optimizer step, from 0.
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
            self.global_rows, *like.shape[1:], generator=self._generator, device=self.device, dtype=torch.float32
        )
        return noise[self.rows].to(like)

    def integers(self, high: int) -> Tensor:
        """(rows,) int64, uniform in [0, high)."""
        return torch.randint(high, (self.global_rows,), generator=self._generator, device=self.device)[self.rows]


class EpochOrder:
    """Which items make the global batch of each step: every item once per epoch, in a new order each epoch.

    A short last batch is dropped; other epochs have its items. With `lengths`, items of similar length share a batch:
    shuffled items are sorted within pools of `POOL` batches, then the batches are shuffled.

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
