"""Training pictures as one array on disk: decoded, cropped and resized once."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from common.cores import map_over_cores
from common.files import whole_file
from embedding_space.pictures import open_picture
from embedding_space.store import EmbeddingStore

WORTH_PROCESSES = 2000  # pictures


def load_pixels(store: EmbeddingStore, split: str, size: int) -> np.ndarray:
    """(N, size, size, 3) uint8, memory-mapped: the pictures of `split`, row for row those of `store.images(split)`.

    Each is cropped to its central square and resized. The array is made once and kept beside the tables, in
    `pixels/`; 118,000 pictures of 256 pixels take 23 GB.

    Raises:
        ValueError: a picture cannot be read, or the split has none.
    """
    rows = store.tables.image_rows(split)
    path = array_path(store, split, str(size))
    if not path.exists():
        _write(path, store.tables.image_paths(rows), size)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def array_path(store: EmbeddingStore, split: str, name: str) -> Path:
    """Where an array made of the pictures of `split` is kept: its name tells which tables they are from."""
    left_out = "".join(f"-{row}" for row in store.manifest.unreadable)
    identity = hashlib.sha256(f"{store.tables.hash}{left_out}".encode()).hexdigest()
    return store.path.parent / "pixels" / f"{split}_{name}_{identity[:12]}.npy"


def _write(path: Path, pictures: list[Path], size: int) -> None:
    with whole_file(path) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(pictures), size, size, 3))
        with map_over_cores(len(pictures) >= WORTH_PROCESSES, chunksize=64) as each:
            squares = each(partial(read_square, size=size), pictures)
            for row, square in enumerate(tqdm(squares, "read pictures", len(pictures), unit="picture")):
                array[row] = square
        array.flush()


def read_square(path: Path, size: int) -> np.ndarray:
    """(size, size, 3) uint8: a picture's central square, resized."""
    return np.asarray(ImageOps.fit(open_picture(path), (size, size), Image.Resampling.LANCZOS))


def to_unit_range(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(pictures: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1], clipped there -> (B, H, W, 3) uint8."""
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous()
