"""DeCap's text memory, a step of an alignment."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.row_memory import RowMemory, checked_rows
from common.checks import Positive, checked_options
from common.randomness import evenly_spaced


class TextMemory(RowMemory):
    """Project image rows on the training texts: their mean weighted by softmax(similarity / temperature), as unit rows.

    DeCap, arXiv 2303.03032, section 3.3 (temperature 0.01 there). Text rows pass unchanged. The memory holds the
    training texts after the preceding steps, (M, D); `memory_rows` keeps an evenly spaced subset of them. For image
    generation it projects text rows on the training images in the same way. `RowMemory` says how it is saved.
    """

    changes_training_rows = False
    inference_options = ("temperature", "memory_rows")

    @checked_options("alignment.")
    def __init__(self, temperature: Positive, **memory: Any):
        super().__init__(**memory)
        self.temperature = temperature

    def inference_side(self, rows):
        return torch.cat([self._project(part) for part in rows.split(1024)]) if len(rows) else rows

    def _project(self, rows: Tensor) -> Tensor:
        weights = (rows @ self.memory.T / self.temperature).softmax(dim=-1)  # (B, M)
        return F.normalize(weights @ self.memory, dim=-1)

    def settings(self):
        return {"temperature": self.temperature}

    def with_inference_options(self, temperature: float | None = None, memory_rows: int | None = None):
        """As `Step`'s; `memory_rows` keeps an evenly spaced subset of the memory."""
        count = checked_rows(memory_rows, len(self.memory))
        memory = self.memory if memory_rows is None else self.memory[evenly_spaced(len(self.memory), count)]
        return self._with_memory(memory, **({} if temperature is None else {"temperature": temperature}))

    @classmethod
    def from_store(cls, store, preceding, temperature: float = 0.01, memory_rows: int | None = None):
        return cls.with_memory_of(store, preceding, memory_rows, temperature=temperature)
