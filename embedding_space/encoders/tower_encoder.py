"""Separate pretrained towers as an encoder, with heads that give them a joint space or without."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from common.paths import find_local_folder
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.heads import TowerHeads
from embedding_space.encoders.towers import ImageTower, TextTower


class TowerEncoder(Encoder):
    """An image tower and a text tower that were trained apart.

    With `heads` the rows lie in one space, and each tower is loaded when it is first used: captioning pictures needs no
    text tower. Without, they are the towers' own features: two spaces, usually of two widths.

    Args:
        name: the encoder's short name; its stores' folder name.
        heads: a folder written by contrastive.train (relative to the working folder, else to the repository), which
            says what its towers are.
        image_tower: `ImageTower`'s options, where there are no heads.
        text_tower: `TextTower`'s options, where there are no heads.
        options: those of `Encoder`.

    Attributes:
        description: `name`, `kind`, `precision`, and either `heads` with their `sha256` (over weights and towers'
            hashes) or both towers' descriptions with theirs.

    Raises:
        ValueError: heads and towers both or neither; other weights than heads were trained on; whatever towers refuse.
        FileNotFoundError: no heads in that folder.
        ImportError: a package that holds a tower is not installed.
    """

    def __init__(
        self,
        name: str,
        heads: str | None = None,
        image_tower: Mapping[str, Any] | None = None,
        text_tower: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        self.description = {"name": name, "kind": "towers", "precision": self.precision}
        self.heads: TowerHeads | None = None
        self.joint = heads is not None
        if heads is not None and image_tower is None and text_tower is None:
            folder = find_local_folder(heads)
            self.heads = TowerHeads.load(folder).to(self.device)
            digest = hashlib.sha256((folder / "config.json").read_bytes())
            digest.update((folder / "model.safetensors").read_bytes())
            self.description |= {"heads": str(heads), "sha256": digest.hexdigest()}
            self._towers = (self.heads.config["image_tower"], self.heads.config["text_tower"])
            self.dims = dict.fromkeys(("images", "texts"), self.heads.config["dim"])
        elif heads is None and image_tower is not None and text_tower is not None:
            self._towers = (image_tower, text_tower)
            self.description["image_tower"] = self.image_tower.description
            self.description["text_tower"] = self.text_tower.description
            self.dims = {"images": self.image_tower.dim, "texts": self.text_tower.dim}
        else:
            raise ValueError(
                f"encoder={name}: give either encoder.heads (a folder) or encoder.image_tower and encoder.text_tower"
            )

    @cached_property
    def image_tower(self) -> ImageTower:
        return ImageTower(**self._towers[0]).to(self.device)

    @cached_property
    def text_tower(self) -> TextTower:
        return TextTower(**self._towers[1]).to(self.device)

    def cut_texts(self, texts: Sequence[str]) -> int:
        return self.text_tower.cut_texts(texts)

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        return self.image_tower.preprocess

    def image_features(self, pictures: Tensor) -> Tensor:
        if self.heads is None:
            return self.image_tower(pictures)
        both = (pictures, pictures.flip(-1)) if self.heads.config["mirror"] else (pictures,)
        features = [self.image_tower(view) for view in both]
        with torch.autocast(self.device.type, enabled=False):  # heads cost nothing: float32
            return self.heads.encode_image(*features)

    def grid_features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Image features, and the image tower's final map; of the pictures alone where image rows are means with those
        of their mirror images, since a place of the one is another place of the other."""
        if self.heads is None or not self.image_tower.pools_final_map:
            raise self._no_patches()
        return self.image_features(pictures), self.image_tower.final_map(pictures)

    def patch_head(self, features: Tensor) -> Tensor:
        """The image head on each place's own features: a map of one place is its own mean and maximum."""
        if self.heads is None or not self.image_tower.pools_final_map:
            raise self._no_patches()
        pooled = features.float().tile(len(self.image_tower.description["features"]))  # (B, P, F)
        with torch.autocast(self.device.type, enabled=False):
            return self.heads.image_head(pooled)

    def text_features(self, sentences: list[str]) -> Tensor:
        features = self.text_tower(self.text_tower.tokenize(sentences))
        if self.heads is None:
            return features
        with torch.autocast(self.device.type, enabled=False):
            return self.heads.encode_text(features)

    def raw_image_features(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) -> the image tower's features (B, F) float32 on the CPU, neither headed nor of unit length."""
        return self._run(self.image_tower, pictures.to(self.device)).cpu()

    @torch.inference_mode()
    def raw_text_features(self, texts: list[str], done: Callable[[int], object] = lambda count: None) -> Tensor:
        """M sentences -> the text tower's features (M, F) float32 on the CPU, neither headed nor of unit length."""
        return self._run_texts(lambda batch: self.text_tower(self.text_tower.tokenize(batch)), texts, done)
