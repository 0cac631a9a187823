"""Features of many pictures, batch by batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from common.device import announce, autocast
from embedding_space.encoders.base import Encoder
from embedding_space.pictures import open_picture
from evaluation.pictures.errors import UnreadablePictures


class FeatureNetwork(Protocol):
    """What pictures are compared by.

    Attributes:
        name: for messages and results.
        description: JSON that says which network it is.
        dim: D.
        preprocess: what makes an RGB picture (3, H, W).
    """

    name: str
    description: dict[str, Any]
    dim: int
    batch_size: int
    workers: int

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]: ...

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D) float32 on the CPU."""
        ...


class EncoderFeatures:
    """An encoder's image features as its tower gives them, not of unit length."""

    def __init__(self, encoder: Encoder):
        self.encoder, self.name, self.description = encoder, encoder.description["name"], encoder.description
        self.dim, self.batch_size, self.workers = encoder.dims["images"], encoder.batch_size, encoder.workers

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        return self.encoder.preprocess

    @torch.inference_mode()
    def features(self, pictures: Tensor) -> Tensor:
        device, precision = self.encoder.device, self.encoder.precision
        announce("Encoding", device, precision)
        with autocast(device, precision):
            return self.encoder.image_features(pictures.to(device)).float().cpu()


def feature_batches(
    network: FeatureNetwork, paths: Sequence[Path], side: int, kind: str, progress: bool = True
) -> Iterator[Tensor]:
    """(B, D) float32 features of picture files, batch by batch, in their order.

    Args:
        side: pixels: of each picture the largest square in its center, brought to this size, is what the network's own
            preprocessing gets, so that both sets come in one resolution.
        kind: "generated" or "reference".

    Raises UnreadablePictures when all were tried.
    """
    loader = DataLoader(
        _Squares(paths, side, network.preprocess), network.batch_size, num_workers=network.workers, collate_fn=_collate
    )
    reasons: list[str] = []
    bar = tqdm(loader, f"{kind} pictures by {network.name}", disable=not progress, file=sys.stderr, dynamic_ncols=True)
    for pictures, failed in bar:
        reasons += failed
        if pictures is not None and not reasons:
            yield network.features(pictures)
    if reasons:
        raise UnreadablePictures(reasons, len(paths), kind)


class _Squares(Dataset):
    def __init__(self, paths: Sequence[Path], side: int, preprocess: Callable[[Image.Image], Tensor]):
        self.paths, self.side, self.preprocess = paths, side, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor | None, str]:
        try:
            picture = open_picture(self.paths[index])
        except (ValueError, FileNotFoundError) as error:
            return None, str(error)
        return self.preprocess(ImageOps.fit(picture, (self.side, self.side), Image.Resampling.BICUBIC)), ""


def _collate(items: list[tuple[Tensor | None, str]]) -> tuple[Tensor | None, list[str]]:
    pictures = [picture for picture, _ in items if picture is not None]
    return torch.stack(pictures) if pictures else None, [reason for picture, reason in items if picture is None]
