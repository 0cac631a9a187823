"""What steps with a memory of the training rows share: how it is filled, saved and fetched again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from alignment.step import Step
from common.checks import checked_options
from common.randomness import evenly_spaced
from embedding_space.store import EmbeddingStore, TrainingModality

ROWS_AT_ONCE = 65_536


class RowMemory(Step):
    """Base of steps that hold the training rows after the preceding steps: texts, for captioning.

    A memory of more than `MEMORY_SAVED_BYTES` is not copied into checkpoints, which name its store and the store's hash
    instead.

    Args:
        rows, dim: of the memory (M, D).
        store, store_hash, corpus_captions, training_modality: where a memory is fetched from that is too large to save.
    """

    MEMORY_SAVED_BYTES = 50_000_000
    memory: Tensor

    @checked_options("alignment.")
    def __init__(
        self,
        rows: int,
        dim: int,
        store: str | None = None,
        store_hash: str | None = None,
        corpus_captions: int | None = None,
        training_modality: TrainingModality = "texts",
    ):
        super().__init__()
        self.store, self.store_hash, self.corpus_captions = store, store_hash, corpus_captions
        self.training_modality: TrainingModality = training_modality
        self.register_buffer("memory", torch.zeros(rows, dim), persistent=store is None)

    def settings(self) -> dict[str, Any]:
        """The JSON constructor values that do not concern the memory."""
        return {}

    def options(self):
        rows, dim = self.memory.shape
        saved = {**self.settings(), "rows": rows, "dim": dim}
        if self.store is None:
            return saved
        part = {} if self.corpus_captions is None else {"corpus_captions": self.corpus_captions}
        side = {} if self.training_modality == "texts" else {"training_modality": self.training_modality}
        return {**saved, "store": self.store, "store_hash": self.store_hash, **part, **side}

    def self_contained(self) -> Self:
        """This step with a memory that is saved with it, however large it is."""
        return self._with_memory(self.memory)

    def _with_memory(self, memory: Tensor, **changed) -> Self:
        """This step with another memory (M', D) and other settings."""
        rows, dim = memory.shape
        step = type(self)(**{**self.settings(), **changed}, rows=rows, dim=dim)
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
    def with_memory_of(
        cls, store: EmbeddingStore, preceding: Sequence[Step], memory_rows: int | None, **settings
    ) -> Self:
        """The step with `memory_rows` evenly spaced training rows of the store after the preceding steps; None for all.

        Raises:
            ValueError: `memory_rows` are none, or more than there are; a bad setting.
        """
        rows = checked_rows(memory_rows, len(store.training_table_rows))
        origin: dict[str, Any] = {
            "store": str(store.path),
            "store_hash": store.hash,
            "corpus_captions": store.corpus_captions,
        }
        large = rows * store.dim * 4 > cls.MEMORY_SAVED_BYTES
        memory: dict[str, Any] = {"rows": rows, "dim": store.dim, "training_modality": store.training_modality}
        step = cls(**settings, **memory, **(origin if large else {}))
        step._fill(store, preceding)
        return step


def checked_rows(rows: int | None, available: int) -> int:
    """`rows`, or all that are available for None. Raises ValueError when they are none or too many."""
    if rows is not None and (not isinstance(rows, int) or not 1 <= rows <= available):
        raise ValueError(f"alignment.memory_rows={rows!r} must be in 1..{available}, the number of rows there are")
    return rows or available
