"""What a captioner with prefix parts reads of an image: its aligned row, words for the prompt, and near captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PrefixInputs:
    """N inputs; indexed and moved like a tensor.

    Attributes:
        rows: (N, D) aligned rows.
        words: (N, E) int64, words of the vocabulary for the prompt, in its order; -1 is no word. None: no prompt.
        neighbors: (N, K, D) the raw rows of near captions, or None.
    """

    rows: Tensor
    words: Tensor | None = None
    neighbors: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> PrefixInputs:
        return self._each(lambda tensor: tensor[rows])

    def to(self, device: torch.device) -> PrefixInputs:
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Any) -> PrefixInputs:
        words, neighbors = (None if part is None else change(part) for part in (self.words, self.neighbors))
        return PrefixInputs(change(self.rows), words, neighbors)
