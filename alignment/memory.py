"""DeCap's text memory, a step of an alignment."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.step import Step
from common.checks import Positive, checked_options
from common.randomness import evenly_spaced
from embedding_space.store import EmbeddingStore, TrainingModality

ROWS_AT_ONCE = 65_536


class TextMemory(Step):
    """Project image rows on the training texts: their mean weighted by softmax(similarity / temperature), as unit rows.

    DeCap, arXiv 2303.03032, section 3.3 (temperature 0.01 there). Text rows pass unchanged. The memory holds the
    training texts after the preceding steps, (M, D); `memory_rows` keeps an evenly spaced subset of them. For image
    generation it projects text rows on the training images in the same way. A memory of
    more than `MEMORY_SAVED_BYTES` is not copied into checkpoints, which name its store and the store's hash instead.
    """

    MEMORY_SAVED_BYTES = 50_000_000
    changes_training_rows = False
    inference_options = ("temperature", "memory_rows")
    memory: Tensor

    @checked_options("alignment.")
    def __init__(
        self,
        temperature: Positive,
        rows: int,
        dim: int,
        store: str | None = None,
        store_hash: str | None = None,
        corpus_captions: int | None = None,
        training_modality: TrainingModality = "texts",
    ):
        super().__init__()
        self.temperature = temperature
        self.store, self.store_hash, self.corpus_captions = store, store_hash, corpus_captions
        self.training_modality: TrainingModality = training_modality
        self.register_buffer("memory", torch.zeros(rows, dim), persistent=store is None)

    def inference_side(self, rows):
        return torch.cat([self._project(part) for part in rows.split(1024)]) if len(rows) else rows

    def _project(self, rows: Tensor) -> Tensor:
        weights = (rows @ self.memory.T / self.temperature).softmax(dim=-1)  # (B, M)
        return F.normalize(weights @ self.memory, dim=-1)

    def options(self):
        rows, dim = self.memory.shape
        saved = {"temperature": self.temperature, "rows": rows, "dim": dim}
        if self.store is None:
            return saved
        part = {} if self.corpus_captions is None else {"corpus_captions": self.corpus_captions}
        side = {} if self.training_modality == "texts" else {"training_modality": self.training_modality}
        return {**saved, "store": self.store, "store_hash": self.store_hash, **part, **side}

    def with_inference_options(self, temperature: float | None = None, memory_rows: int | None = None):
        """As `Step`'s; `memory_rows` keeps an evenly spaced subset of the memory."""
        count = _checked_rows(memory_rows, len(self.memory))
        memory = self.memory if memory_rows is None else self.memory[evenly_spaced(len(self.memory), count)]
        return self._with_memory(memory, self.temperature if temperature is None else temperature)

    def self_contained(self) -> TextMemory:
        """This step with a memory that is saved with it, however large it is."""
        return self._with_memory(self.memory, self.temperature)

    def _with_memory(self, memory: Tensor, temperature: float) -> TextMemory:
        rows, dim = memory.shape
        step = TextMemory(temperature, rows, dim)
        step.memory = memory
        return step

    def restore(self, preceding):
        if self.store is None:
            return
        store = EmbeddingStore(self.store, self.corpus_captions, self.training_modality)
        if store.hash != self.store_hash:
            raise ValueError(
                f"This model's memory came from the store {self.store} with hash {str(self.store_hash)[:12]}, "
                f"but the store there has hash {store.hash[:12]}: prepare that store, or train the model, again"
            )
        self._fill(store, preceding)

    def _fill(self, store: EmbeddingStore, preceding: Sequence[Step]) -> None:
        rows = store.training_rows(store.training_split)
        rows = rows[evenly_spaced(len(rows), len(self.memory))]
        for part, out in zip(rows.split(ROWS_AT_ONCE), self.memory.split(ROWS_AT_ONCE), strict=True):
            for before in preceding:
                part = before.clean_side(part)
            out.copy_(part)

    @classmethod
    def from_store(cls, store, preceding, temperature: float = 0.01, memory_rows: int | None = None):
        rows = _checked_rows(memory_rows, len(store.training_table_rows))
        large = rows * store.dim * 4 > cls.MEMORY_SAVED_BYTES
        origin = (str(store.path), store.hash, store.corpus_captions) if large else (None, None, None)
        step = cls(temperature, rows, store.dim, *origin, store.training_modality)
        step._fill(store, preceding)
        return step


def _checked_rows(rows: int | None, available: int) -> int:
    if rows is not None and (not isinstance(rows, int) or not 1 <= rows <= available):
        raise ValueError(f"alignment.memory_rows={rows!r} must be in 1..{available}, the number of rows there are")
    return rows or available
