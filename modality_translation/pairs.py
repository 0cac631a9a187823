"""Image-text pairs, seen by two encoders: the image tower of one store, the text tower of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from embedding_space.store import EmbeddingStore


class PairedStores:
    """Two encoders' views of one data set; often both are the same store.

    Raises ValueError when the stores were made from different tables, or leave out different images.
    """

    def __init__(self, images: str | Path, texts: str | Path):
        self.images, self.texts = EmbeddingStore(images), EmbeddingStore(texts)
        for what, ours, theirs in (
            ("other tables", self.images.manifest.tables_hash, self.texts.manifest.tables_hash),
            ("other readable images", self.images.tables.left_out, self.texts.tables.left_out),
        ):
            if ours != theirs:
                raise ValueError(
                    f"image_store={images} and text_store={texts} are of {what}: both must be views of one data set, "
                    "each prepared with python scripts/prepare_data.py dataset=... encoder=..."
                )

    @property
    def dims(self) -> dict[str, int]:
        return {"images": self.images.dim_of("images"), "texts": self.texts.dim_of("texts")}

    @property
    def encoders(self) -> dict[str, dict]:
        """The encoders' descriptions, of images and of texts."""
        return {"images": self.images.manifest.encoder, "texts": self.texts.manifest.encoder}

    @property
    def is_joint(self) -> bool:
        """Whether images and texts lie in one space already, so that they can be compared as they are."""
        return self.images.hash == self.texts.hash and self.images.joint

    @property
    def hashes(self) -> dict[str, str]:
        return {"image_store": self.images.hash, "text_store": self.texts.hash}

    def pairs(self, split: str, device: torch.device | str = "cpu") -> Pairs:
        """The pairs of one split. Raises ValueError when a text of it has no image there."""
        image_row = torch.from_numpy(self.images.pairs(split))
        # Float16 rows are unit only to a thousandth.
        rows = (F.normalize(stored, dim=-1) for stored in (self.images.images(split), self.texts.texts(split)))
        return Pairs(*(tensor.to(device) for tensor in (*rows, image_row)))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Image-text pairs on a device.

    images: (N, D_images) float32 unit rows. texts: (M, D_texts), likewise. image_row: (M,) int64, each text's image.
    """

    images: Tensor
    texts: Tensor
    image_row: Tensor

    def between(self, direction: str) -> tuple[Tensor, Tensor, Tensor]:
        """What a direction goes from (N, C) and to (M, D), and the rows (2, P) of each that are paired."""
        row_of = torch.stack([self.image_row, torch.arange(len(self.texts), device=self.image_row.device)])
        if direction == "image_to_text":
            return self.images, self.texts, row_of
        return self.texts, self.images, row_of.flip(0)
