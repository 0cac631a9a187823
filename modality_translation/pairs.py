"""Image-text pairs embedded by two encoders: images by that of one store, texts by that of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from embedding_space.store import EmbeddingStore


class PairedStores:
    """Two encoders' views of one data set; often both are the same store.

    Raises:
        ValueError: the stores were made from different tables, or leave out different images.
    """

    def __init__(self, images: str | Path, texts: str | Path):
        self.images, self.texts = EmbeddingStore(images), EmbeddingStore(texts)
        for what, ours, theirs in (
            ("other tables", self.images.manifest.tables_hash, self.texts.manifest.tables_hash),
            ("other readable images", self.images.tables.left_out, self.texts.tables.left_out),
        ):
            if ours != theirs:
                raise ValueError(
                    f"image_store={images} and text_store={texts} are of {what}: encode one data set with both"
                )

    @property
    def dims(self) -> dict[str, int]:
        return {"images": self.images.manifest.dim_of("images"), "texts": self.texts.manifest.dim_of("texts")}

    @property
    def encoders(self) -> dict[str, dict]:
        """The encoders' descriptions, of images and of texts."""
        return {"images": self.images.manifest.encoder, "texts": self.texts.manifest.encoder}

    @property
    def is_joint(self) -> bool:
        """Whether images and texts share one space, so that they can be compared without translation."""
        return self.images.hash == self.texts.hash and self.images.joint

    @property
    def hashes(self) -> dict[str, str]:
        return {"image_store": self.images.hash, "text_store": self.texts.hash}

    def pairs(self, split: str, device: torch.device | str = "cpu") -> PairedRows:
        """The pairs of one split.

        Raises:
            ValueError: a text of the split has no image there.
        """
        image_row = torch.from_numpy(self.images.pairs(split))
        # Float16 rows are unit only to a thousandth.
        images, texts = (F.normalize(rows, dim=-1) for rows in (self.images.images(split), self.texts.texts(split)))
        return PairedRows(images.to(device), texts.to(device), image_row.to(device))


@dataclass(frozen=True, eq=False)
class PairedRows:
    """Embeddings of image-text pairs on a device.

    Attributes:
        images: (N, D_images) float32 unit rows.
        texts: (M, D_texts) float32 unit rows.
        image_row: (M,) int64, each text's image.
    """

    images: Tensor
    texts: Tensor
    image_row: Tensor

    def between(self, direction: str) -> tuple[Tensor, Tensor, Tensor]:
        """A direction's conditions (N, C), its targets (M, D), and the paired rows (2, P) of each."""
        row_of = torch.stack([self.image_row, torch.arange(len(self.texts), device=self.image_row.device)])
        if direction == "image_to_text":
            return self.images, self.texts, row_of
        return self.texts, self.images, row_of.flip(0)
