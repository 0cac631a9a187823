"""DeCap's text memory, a step of an alignment."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.cell_index import CellIndex
from alignment.nearest_rows import SIMILARITIES_AT_ONCE, nearest_rows
from alignment.row_memory import RowMemory, checked_rows
from common.checks import Count, Positive, checked_options
from common.extras import require
from common.randomness import evenly_spaced


class TextMemory(RowMemory):
    """Project image rows on the training texts: their mean weighted by softmax(similarity / temperature), as unit rows.

    DeCap, arXiv 2303.03032, section 3.2.1 (temperature 0.01 there). Text rows pass unchanged. The memory holds the
    training texts after the preceding steps, (M, D); `memory_rows` keeps an evenly spaced subset of them. For image
    generation it projects text rows on the training images in the same way. `RowMemory` says how it is saved.

    Args:
        neighbors: how many of the most similar texts count; None for all.
        probes: cells of a `CellIndex` in which the neighbors are searched, approximately; None searches all rows.
    """

    changes_training_rows = False
    inference_options = ("temperature", "neighbors", "probes", "memory_rows")

    @checked_options("alignment.")
    def __init__(
        self, temperature: Positive, neighbors: Count | None = None, probes: Count | None = None, **memory: Any
    ):
        super().__init__(**memory)
        if neighbors is None and probes is not None:
            raise ValueError(
                f"alignment.probes={probes} searches the nearest texts: say how many with alignment.neighbors, such as "
                "1000"
            )
        if probes is not None:
            require("faiss")
        self.temperature, self.neighbors, self.probes = temperature, neighbors, probes
        self._index: tuple[Tensor, CellIndex] | None = None  # of the memory that it was made of

    def inference_side(self, rows):
        wide = len(self.memory) if self.neighbors is None else max(len(self.memory), self.neighbors * rows.shape[1])
        part = max(SIMILARITIES_AT_ONCE // max(wide, 1), 1)
        return torch.cat([self._project(some) for some in rows.split(part)]) if len(rows) else rows

    def _project(self, rows: Tensor) -> Tensor:
        if self.neighbors is None:
            weights = (rows @ self.memory.T / self.temperature).softmax(dim=-1)  # (B, M)
            return F.normalize(weights @ self.memory, dim=-1)
        nearest = self.nearest(rows)  # (B, k), -1 where the cells have no more
        texts = self.memory[nearest.clamp(min=0)]  # (B, k, D)
        similarities = torch.einsum("bd,bkd->bk", rows, texts).masked_fill(nearest < 0, -torch.inf)
        weights = (similarities / self.temperature).softmax(dim=-1)
        return F.normalize(torch.einsum("bk,bkd->bd", weights, texts), dim=-1)

    def nearest(self, rows: Tensor) -> Tensor:
        """(B, k) int64: the `neighbors` rows of the memory that are nearest to these (B, D), or about; -1 for none."""
        count = min(self.neighbors or len(self.memory), len(self.memory))
        if self.probes is None:
            return nearest_rows(rows, self.memory, count)
        if self._index is None or self._index[0] is not self.memory:
            self._index = self.memory, CellIndex(self.memory)
        numbers = self._index[1].nearest(rows, count, self.probes)
        nowhere = numbers[:, 0] < 0  # all cells that were searched are empty
        numbers[nowhere] = nearest_rows(rows[nowhere], self.memory, count)
        return numbers

    def settings(self):
        searched = {"neighbors": self.neighbors, "probes": self.probes}
        return {"temperature": self.temperature} | {name: n for name, n in searched.items() if n is not None}

    def with_inference_options(
        self,
        temperature: float | None = None,
        neighbors: int | None = None,
        probes: int | None = None,
        memory_rows: int | None = None,
    ):
        """As `Step`'s; `memory_rows` keeps an evenly spaced subset of the memory."""
        count = checked_rows(memory_rows, len(self.memory))
        memory = self.memory if memory_rows is None else self.memory[evenly_spaced(len(self.memory), count)]
        changed = {"temperature": temperature, "neighbors": neighbors, "probes": probes}
        return self._with_memory(memory, **{name: value for name, value in changed.items() if value is not None})

    @classmethod
    def from_store(
        cls,
        store,
        preceding,
        temperature: float = 0.01,
        neighbors: int | None = None,
        probes: int | None = None,
        memory_rows: int | None = None,
    ):
        settings = {"temperature": temperature, "neighbors": neighbors, "probes": probes}
        return cls.with_memory_of(store, preceding, memory_rows, **settings)
