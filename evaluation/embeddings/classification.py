"""Zero-shot classification of a split's images, by any embeddings of them and of class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from embedding_space.encoders.load import reload_encoder
from embedding_space.store import EmbeddingStore
from evaluation.embeddings.labels import read_labels
from evaluation.embeddings.word_lists import word_list
from evaluation.embeddings.zero_shot import ZeroShotScores, class_embeddings, class_prompts, zero_shot_scores


@dataclass(frozen=True, eq=False)
class Classification:
    """names: of C classes. templates: T of them. rows: (N,) those of the split's images that have a class.
    labels: (N,) the numbers of their classes."""

    names: list[str]
    templates: list[str]
    rows: Tensor
    labels: Tensor

    @classmethod
    def of_split(
        cls,
        store: EmbeddingStore,
        split: str,
        labels: str,
        classes: str | Sequence[str] | None,
        templates: str | Sequence[str],
    ) -> Classification:
        """classes, templates: lists, or files with one entry per line. Raises as `read_labels` and `word_list`."""
        wanted = None if classes is None else word_list("classes", classes)
        names, rows, numbers = read_labels(labels, store, split, wanted)
        return cls(names, word_list("templates", templates), rows, numbers)

    def prompts(self, encoder: Mapping) -> Tensor:
        """(C x T, D) the prompts' embeddings by the encoder of that description. Raises as `class_prompts`."""
        prompts, loaded = class_prompts(self.names, self.templates), reload_encoder(encoder)
        loaded.warn_of_cut(prompts, "prompts")
        return loaded.encode_texts(prompts)

    def score(self, images: Tensor, prompts: Tensor) -> ZeroShotScores:
        """images: (N, D) rows of the images that have a class; prompts: (C x T, D). Both unit rows of one space."""
        return zero_shot_scores(images, class_embeddings(prompts, len(self.templates)), self.labels)
