"""Pairs of pixels and tokens on the device: decoded and tokenized once, augmented at each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from common.cores import map_over_cores
from contrastive.caption_tokens import caption_tokens
from contrastive.pairs import Pairs
from embedding_space.pictures import open_picture
from embedding_space.tables import Tables
from embedding_space.videos import NO_FLOW, PICTURES
from training.batches import StepRandom

WORTH_PROCESSES = 2000  # files


class PicturePairs(Pairs):
    """Pixels and tokens, for towers that learn.

    Args:
        context_length: tokens; longer captions are cut, with a warning that counts them.
        read: makes a file (3, H, W) uint8.
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
        read: ReadPicture | ReadVideo,
        mean: list[float],
        std: list[float],
        shift_pixels: int,
    ):
        super().__init__(tables, split, device)
        self.mean, self.std = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))
        self.shift_pixels = shift_pixels
        self.tokens = caption_tokens(tokenizer, self.captions, context_length, split).to(device)
        self.pictures = read_all(tables.image_paths(self.image_rows), read, f"read {split} pictures").to(device)

    def draw(self, pictures: Tensor, random: StepRandom) -> tuple[Tensor, Tensor]:
        pixels, captions = self.draw_pairs(pictures, random)
        return self.normalized(pixels), self.tokens[captions]

    def draw_pairs(self, pictures: Tensor, random: StepRandom) -> tuple[Tensor, Tensor]:
        """(B,) picture numbers -> moved pixels (B, 3, H, W) uint8, and (B,) numbers of captions."""
        pixels = self.pictures[pictures]
        if self.shift_pixels:
            dx, dy = (random.integers(2 * self.shift_pixels + 1) - self.shift_pixels for _ in range(2))
            pixels = shift(pixels, dx, dy)
        return pixels, self.choose_captions(pictures, random)

    def encode(self, model: Any) -> tuple[Tensor, Tensor]:
        images = torch.cat([model.encode_image(self.normalized(part)).float() for part in self.pictures.split(256)])
        return images, torch.cat([model.encode_text(part).float() for part in self.tokens.split(1024)])

    def normalized(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> float32 with the mean and the standard deviation of the model."""
        return (pictures.float() / 255 - self.mean) / self.std


def read_all(paths: Sequence[Path], read: Callable[[Path], np.ndarray], label: str) -> Tensor:
    """(N, ...) what `read` makes of the files, by as many processes as there are cores."""
    arrays: Tensor | None = None
    with map_over_cores(len(paths) >= WORTH_PROCESSES, chunksize=64) as each:
        items = each(read, paths)
        for row, item in enumerate(tqdm(items, label, len(paths), unit="file", dynamic_ncols=True)):
            value = torch.from_numpy(item)
            if arrays is None:
                arrays = torch.empty(len(paths), *value.shape, dtype=value.dtype)
            arrays[row] = value
    assert arrays is not None  # a split has at least one image
    return arrays


@dataclass(frozen=True)
class ReadPicture:
    """A picture file -> (3, size, size) uint8: the shorter side resized, the center cropped."""

    size: int

    def __call__(self, path: Path) -> np.ndarray:
        picture = pil_to_tensor(open_picture(path))
        if picture.shape[-2:] != (self.size, self.size):
            picture = center_crop(resize(picture, [self.size], antialias=True), [self.size, self.size])
        return picture.numpy()

    def mirror(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) turned left to right."""
        return pictures.flip(-1)


@dataclass(frozen=True)
class ReadVideo:
    """A video file -> (3, H, W) uint8: one picture of its frames, of those in `PICTURES`."""

    frames: int
    side: int
    pooling: str

    def __call__(self, path: Path) -> np.ndarray:
        return pil_to_tensor(PICTURES[self.pooling](path, self.frames, self.side)).numpy()

    def mirror(self, pictures: Tensor) -> Tensor:
        """What videos turned left to right look like: each frame for itself, and flows to the other side."""
        turned = pictures.unflatten(-1, (-1, self.side)).flip(-1).flatten(-2)
        if self.pooling == "flow":
            flow = turned[:, 0, :, self.side :]
            flow.copy_((2 * NO_FLOW - flow.to(torch.int16)).clamp(0, 255))
        return turned


def shift(pictures: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Move each picture of (B, C, H, W) by (dx, dy) pixels (B,), repeating the border."""
    height, width = pictures.shape[-2:]
    columns = (torch.arange(width, device=pictures.device) - dx[:, None]).clamp(0, width - 1)  # (B, W)
    lines = (torch.arange(height, device=pictures.device) - dy[:, None]).clamp(0, height - 1)  # (B, H)
    rows = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    moved = pictures[rows, :, lines[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)
