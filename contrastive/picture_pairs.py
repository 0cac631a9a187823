"""Pairs of pixels and tokens on the device: decoded and tokenized once, augmented at each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from contrastive.caption_tokens import caption_tokens
from contrastive.pairs import Pairs
from embedding_space.pictures import open_picture
from embedding_space.tables import Tables
from training.batches import StepRandom


class PicturePairs(Pairs):
    """Pixels and tokens, for towers that learn.

    Args:
        context_length: tokens; longer captions are cut, with a warning that counts them.
        image_size: pixels.
        mean, std: of each color channel, from 0 to 1; pictures are normalized with them.
        shift_pixels: the greatest shift of training pictures, in each direction.

    Attributes:
        pictures: (N, 3, S, S) uint8.
        tokens: (M, T) int64.
    """

    def __init__(
        self,
        tables: Tables,
        split: str,
        device: torch.device,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int,
        image_size: int,
        mean: list[float],
        std: list[float],
        shift_pixels: int,
    ):
        super().__init__(tables, split, device)
        self.mean, self.std = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))
        self.shift_pixels = shift_pixels
        self.tokens = caption_tokens(tokenizer, self.captions, context_length, split).to(device)
        self.pictures = torch.empty(len(self), 3, image_size, image_size, dtype=torch.uint8)
        paths = tables.image_paths(self.image_rows)
        for row, path in enumerate(tqdm(paths, desc=f"read {split} pictures", unit="image", dynamic_ncols=True)):
            self.pictures[row] = read_picture(path, image_size)
        self.pictures = self.pictures.to(device)

    def draw(self, pictures: Tensor, random: StepRandom) -> tuple[Tensor, Tensor]:
        pixels = self.pictures[pictures]
        if self.shift_pixels:
            dx, dy = (random.integers(2 * self.shift_pixels + 1) - self.shift_pixels for _ in range(2))
            pixels = shift(pixels, dx, dy)
        return self._normalized(pixels), self.tokens[self.choose_captions(pictures, random)]

    def encode(self, model: Any) -> tuple[Tensor, Tensor]:
        images = torch.cat([model.encode_image(self._normalized(part)).float() for part in self.pictures.split(256)])
        return images, torch.cat([model.encode_text(part).float() for part in self.tokens.split(1024)])

    def _normalized(self, pictures: Tensor) -> Tensor:
        return (pictures.float() / 255 - self.mean) / self.std


def read_picture(path: Path, size: int) -> Tensor:
    """A picture file -> (3, size, size) uint8: the shorter side resized, the center cropped."""
    picture = pil_to_tensor(open_picture(path))
    if picture.shape[-2:] != (size, size):
        picture = center_crop(resize(picture, [size], antialias=True), [size, size])
    return picture


def shift(pictures: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Move each picture of (B, C, H, W) by (dx, dy) pixels (B,), repeating the border."""
    height, width = pictures.shape[-2:]
    columns = (torch.arange(width, device=pictures.device) - dx[:, None]).clamp(0, width - 1)  # (B, W)
    lines = (torch.arange(height, device=pictures.device) - dy[:, None]).clamp(0, height - 1)  # (B, H)
    rows = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    moved = pictures[rows, :, lines[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)
