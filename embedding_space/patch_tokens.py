"""Patch tokens on disk: read in batches, or taken to a device once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LOAD_BYTES = 64 * 2**20  # copied to the device at a time


class PatchTokens:
    """Patch tokens, or their features, of N images, left on disk.

    Indexing with rows (numbers, a slice, a mask, an array or a CPU tensor) reads (B, P, W) float32 into memory of its
    own, whatever the order of the rows. A row that is read is copied once from the memory-mapped file.

    Args:
        array: (R, P, W) float16, memory-mapped: all rows of a store.
        rows: (N,) int64, the rows of these images.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray):
        self._array, self._rows = array.view(np.ndarray), rows  # a memmap is slower to index
        self.shape: tuple[int, int, int] = (len(rows), *array.shape[1:])

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows: int | slice | np.ndarray | Tensor) -> Tensor:
        return self.half(rows).float()

    def half(self, rows: int | slice | np.ndarray | Tensor) -> Tensor:
        """As indexing, in float16 as it is stored: half of the bytes on their way to a GPU."""
        chosen = self._rows[_numpy(rows)]
        return torch.from_numpy(np.take(self._array, chosen, axis=0))

    def take(self, rows: np.ndarray | Tensor) -> PatchTokens:
        """Those of the images `rows`, left on disk."""
        return PatchTokens(self._array, self._rows[_numpy(rows)])

    def load(self, device: torch.device | str) -> Tensor:
        """(N, P, W) float16 of all images on a device, copied in parts, so that main memory need not hold them."""
        loaded = torch.empty(self.shape, dtype=torch.float16, device=device)
        rows = max(1, LOAD_BYTES // max(1, 2 * self.shape[1] * self.shape[2]))
        for start in range(0, len(self), rows):
            part = slice(start, start + rows)
            loaded[part] = self.half(part).to(device)
        return loaded


def _numpy(rows: int | slice | np.ndarray | Tensor) -> int | slice | np.ndarray:
    """Rows by which NumPy indexes as PyTorch does: it takes a tensor of one number for this number."""
    return rows.numpy() if isinstance(rows, Tensor) else rows
