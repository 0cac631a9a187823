"""Image-text pairs as tensors on the device: decoded and tokenised once, augmented afresh each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from embedding_space.pictures import open_picture
from embedding_space.tables import Tables


class Pairs:
    """The pairs of one split.

    Attributes:
        pictures: (N, 3, S, S) uint8.
        tokens: (M, T) int64, all captions of the split.
        owner: (M,) int64, each caption's picture.
        first: (N + 1,) int64: the captions of picture n are rows first[n] to first[n + 1].
    """

    def __init__(
        self,
        tables: Tables,
        split: str,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int,
        image_size: int,
        device: torch.device,
    ):
        image_rows, caption_rows = tables.image_rows(split), tables.caption_rows(split)
        owner = tables.pairs(split)
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=len(image_rows))
        if (counts == 0).any():
            row = image_rows[int(np.argmin(counts))]
            raise ValueError(
                f"Image {tables.images['image_id'][row].as_py()!r} of split {split!r} in {tables.root} has no caption: "
                "contrastive training needs pairs"
            )
        captions = tables.captions["caption"].take(caption_rows[order]).to_pylist()
        self.tokens = tokenizer(
            captions, padding="max_length", truncation=True, max_length=context_length, return_tensors="pt"
        )["input_ids"].to(device)
        self.owner = torch.from_numpy(owner[order]).to(device)
        self.first = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(device)
        self.pictures = torch.empty(len(image_rows), 3, image_size, image_size, dtype=torch.uint8)
        paths = tables.image_paths(image_rows)
        for row, path in enumerate(tqdm(paths, desc=f"read {split} pictures", unit="image", dynamic_ncols=True)):
            self.pictures[row] = read_picture(path, image_size)
        self.pictures = self.pictures.to(device)


def read_picture(path: Path, size: int) -> Tensor:
    """A picture file -> (3, size, size) uint8: the shorter side resized, the centre cropped."""
    picture = pil_to_tensor(open_picture(path))
    if picture.shape[-2:] != (size, size):
        picture = center_crop(resize(picture, size, antialias=True), [size, size])
    return picture


def shift(pictures: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Move each picture of (B, C, H, W) by (dx, dy) pixels (B,), repeating the border."""
    height, width = pictures.shape[-2:]
    columns = (torch.arange(width, device=pictures.device) - dx[:, None]).clamp(0, width - 1)  # (B, W)
    lines = (torch.arange(height, device=pictures.device) - dy[:, None]).clamp(0, height - 1)  # (B, H)
    rows = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    moved = pictures[rows, :, lines[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)
