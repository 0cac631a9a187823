"""Image-text pairs of one split: which caption belongs to which picture, and the training batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embedding_space.tables import Tables
from training.batches import StepRandom


class Pairs(ABC):
    """The pairs of one split, N pictures and their M captions. Subclasses define what a picture and a caption are.

    Attributes:
        image_rows: (N,) row numbers in the images' table.
        captions: M sentences, picture by picture.
        owner: (M,) int64, each caption's picture.
        first: (N + 1,) int64: the captions of picture n are first[n] to first[n + 1].

    Raises:
        ValueError: a picture has no caption.
    """

    def __init__(self, tables: Tables, split: str, device: torch.device):
        self.image_rows = tables.image_rows(split)
        owner = tables.pairs(split)
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=len(self.image_rows))
        if (counts == 0).any():
            row = self.image_rows[int(np.argmin(counts))]
            raise ValueError(
                f"Image {tables.images['image_id'][row].as_py()!r} of split {split!r} in {tables.root} has no caption: "
                "contrastive training needs pairs"
            )
        self.captions: list[str] = tables.captions["caption"].take(tables.caption_rows(split)[order]).to_pylist()
        self.owner = torch.from_numpy(owner[order]).to(device)
        self.first = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(device)

    def __len__(self) -> int:
        return len(self.image_rows)

    def choose_captions(self, pictures: Tensor, random: StepRandom) -> Tensor:
        """(B,) picture numbers -> (B,) numbers of one random caption of each."""
        first = self.first[pictures]
        return first + random.integers(2**31) % (self.first[pictures + 1] - first)

    @abstractmethod
    def draw(self, pictures: Tensor, random: StepRandom) -> tuple[Tensor, Tensor]:
        """(B,) picture numbers -> the model's two inputs: newly augmented pictures and newly drawn captions."""

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of `measures`, whose higher values are better."""
        return ()

    def measures(self, model: Any, images: Tensor, texts: Tensor) -> dict[str, float]:
        """What else these pairs can measure, of their unit rows (N, D) and (M, D)."""
        return {}

    @abstractmethod
    def encode(self, model: Any) -> tuple[Tensor, Tensor]:
        """(N, D) and (M, D) rows of all pictures, not augmented, and all captions; not yet of unit length."""
