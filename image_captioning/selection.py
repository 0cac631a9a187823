"""Which captions of a store a captioner trains and validates on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor

from common.randomness import drawn_groups, drawn_rows, without
from embedding_space.splits import refuse_held_out
from embedding_space.store import EmbeddingStore


@dataclass(frozen=True)
class CaptionSelection:
    """Some captions of one split.

    Attributes:
        rows: (M,) int64, increasing, among the split's captions.
    """

    store: EmbeddingStore
    split: str
    rows: Tensor

    def captions(self) -> list[str]:
        captions = self.store.captions(self.split)
        return captions if len(self.rows) == len(captions) else [captions[row] for row in self.rows.tolist()]

    def texts(self) -> Tensor:
        """(M, D) raw rows in float16, as they are stored."""
        texts = self.store.texts(self.split, torch.float16)
        return texts if len(self.rows) == len(texts) else texts[self.rows]


def select_captions(config: DictConfig, store: EmbeddingStore) -> tuple[CaptionSelection, CaptionSelection]:
    """Training and validation captions.

    Without a validation split some training captions are held out, all captions of an image together, since they say
    nearly the same.

    Raises:
        ValueError: bad options, or a split without captions.
    """
    uses_pairs = "pairs" in (config.train_on, config.validate_on)
    if config.train_on == "pairs":
        refuse_held_out("dataset.pairs_split", config.dataset.pairs_split)
    split: str = config.dataset.pairs_split if config.train_on == "pairs" else store.text_split
    validation_split, count = config.validation_split, config.validation_captions
    rows = torch.arange(len(store.tables.caption_rows(split)))
    if validation_split is not None:
        try:
            total = len(store.tables.caption_rows(validation_split))
        except ValueError as error:
            raise ValueError(
                f"{error}. Name one of them with validation_split=..., or set validation_split=null, which holds out "
                "some of the training texts"
            ) from error
        validation_rows = drawn_rows(total, total if count is None else count, config.seed, 5)
    elif uses_pairs or count is None or count >= len(rows):
        raise ValueError(
            f"validation_split=null holds out validation_captions={count} of the {len(rows)} training texts: give a "
            f"smaller number, such as {max(1, len(rows) // 10)}, and name a split if train_on or validate_on is pairs"
        )
    else:
        groups = torch.from_numpy(store.tables.image_groups(split))
        validation_split, validation_rows = split, drawn_groups(groups, count, config.seed, 5)
        rows = without(len(rows), validation_rows)
        if not len(rows):
            raise ValueError(
                f"validation_captions={count} leave no image of split {split!r} to train on, since all captions of an "
                "image are held out together: give fewer"
            )
    if config.train_captions is not None and config.train_on != "images":  # of which it is a number then
        rows = rows[drawn_rows(len(rows), config.train_captions, config.seed, 5)]
    return CaptionSelection(store, split, rows), CaptionSelection(store, validation_split, validation_rows)
