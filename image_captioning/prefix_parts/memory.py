"""The captions that a captioner looks among at inference: their embeddings and their nouns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignment.memory import TextMemory
from alignment.nearest_rows import nearest_rows
from embedding_space.store import EmbeddingStore
from image_captioning.prefix_parts.words import caption_words


class CaptionMemory(nn.Module):
    """The raw unit rows (M, D) of the training captions, and their nouns (M, E) as numbers of a vocabulary.

    Rows of more than `TextMemory.MEMORY_SAVED_BYTES` are not copied into checkpoints, which name their store and its
    hash instead, as `TextMemory` does. The nouns are saved always.

    Args:
        captions: M.
        nouns: E, of a caption.
        dim: D.
    """

    rows: Tensor
    words: Tensor

    def __init__(
        self,
        captions: int,
        nouns: int,
        dim: int,
        store: str | None = None,
        store_hash: str | None = None,
        corpus_captions: int | None = None,
    ):
        super().__init__()
        self.store, self.store_hash, self.corpus_captions = store, store_hash, corpus_captions
        self.register_buffer("rows", torch.zeros(captions, dim), persistent=store is None)
        self.register_buffer("words", torch.zeros(captions, nouns, dtype=torch.int32))

    @classmethod
    def from_store(cls, store: EmbeddingStore, names: Sequence[str]) -> CaptionMemory:
        """The captions that the store has to train on, with those of their nouns that are in `names`."""
        rows = store.texts(store.text_split)
        words = caption_words(store.captions(store.text_split), names)
        large = rows.numel() * 4 > TextMemory.MEMORY_SAVED_BYTES
        origin = (str(store.path), store.hash, store.corpus_captions) if large else (None, None, None)
        memory = cls(len(words), words.shape[1], store.dim, *origin)
        memory.rows, memory.words = F.normalize(rows, dim=-1), words.int()
        return memory

    def options(self) -> dict:
        """The JSON constructor values."""
        shape = {"captions": len(self.words), "nouns": self.words.shape[1], "dim": self.rows.shape[1]}
        origin = {"store": self.store, "store_hash": self.store_hash, "corpus_captions": self.corpus_captions}
        return shape if self.store is None else {**shape, **origin}

    def restore(self) -> None:
        """After loading a checkpoint, read the rows that it names but does not hold.

        Raises:
            FileNotFoundError: their store is missing.
            ValueError: it has changed.
        """
        if self.store is None:
            return
        store = EmbeddingStore(self.store, self.corpus_captions)
        if store.hash != self.store_hash:
            raise ValueError(
                f"This captioner's captions came from the store {self.store} with hash {str(self.store_hash)[:12]}, "
                f"but the store there has hash {store.hash[:12]}: prepare that store, or train the captioner, again"
            )
        self.rows = F.normalize(store.texts(store.text_split), dim=-1).to(self.rows.device)

    def self_contained(self) -> CaptionMemory:
        """This memory with rows that are saved with it, in float16."""
        memory = CaptionMemory(len(self.words), self.words.shape[1], self.rows.shape[1])
        memory.rows, memory.words = self.rows.half(), self.words
        return memory

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """(N, count) int64: the captions that are most similar to unit rows (N, D), the most similar first."""
        return nearest_rows(queries, self.rows, count)
