"""Videos by any encoder of pictures: the mean of a few frames' rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from common.extras import require
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import load_encoder
from embedding_space.media import NAMES, Medium
from embedding_space.videos import FRAMES, read_frames

Pooling = Literal["mean"]


class LoadFrames:
    """A video file as frames, each preprocessed as a picture.

    Args:
        preprocess: a picture encoder's.
        count: how many frames (`read_frames`).
    """

    def __init__(self, preprocess: Callable[[Image.Image], Tensor], count: int):
        self.preprocess, self.count = preprocess, count

    def __call__(self, path: Path) -> Tensor:
        """A file -> (F, 3, H, W). Raises as `read_frames`."""
        return torch.stack([self.preprocess(frame) for frame in read_frames(path, self.count)])


class VideoEncoder(Encoder):
    """Videos as the mean of their frames' unit rows, brought to unit length; texts as the picture encoder's.

    A mean knows no order: a video and its reverse have one row.

    Args:
        name: the encoder's short name; its stores' folder name.
        of: the picture encoder, as its config or description; batch size, precision and device are this one's.
        frames: how many of a video (`read_frames`).
        pooling: of the frames' rows: "mean".
        options: those of `Encoder`; `batch_size` counts videos.

    Attributes:
        description: `name`, `kind`, `frames`, `pooling`, `precision` and `of`, the picture encoder's description.

    Raises:
        ValueError: an option is out of range, or `of` is no encoder of pictures.
        ImportError: PyAV is not installed.
    """

    medium: Medium = "video"

    def __init__(
        self, name: str, of: Mapping[str, Any], frames: int = FRAMES, pooling: Pooling = "mean", **options: Any
    ):
        super().__init__(**options)
        require("av")
        if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
            raise ValueError(f"encoder.frames={frames} must be a whole number, at least 1")
        if pooling not in get_args(Pooling):
            raise ValueError(f"encoder.pooling={pooling!r} must be one of {', '.join(get_args(Pooling))}")
        shared = {"batch_size": self.batch_size, "precision": self.precision, "device": str(self.device)}
        self.pictures = load_encoder(**{"name": name, **of, **shared, "workers": 0})
        if self.pictures.medium != "image":
            read = NAMES[self.pictures.medium]
            raise ValueError(f"encoder.of of encoder={name} reads {read}: it must be an encoder of pictures")
        self.frames = frames
        self.dims, self.joint = self.pictures.dims, self.pictures.joint
        inner = {key: value for key, value in self.pictures.description.items() if key != "precision"}
        self.description = {
            "name": name,
            "kind": "video",
            "frames": frames,
            "pooling": pooling,
            "precision": self.precision,
            "of": inner,
        }

    @property
    def load(self) -> Callable[[Path], Tensor]:
        return LoadFrames(self.pictures.preprocess, self.frames)

    def image_features(self, pictures: Tensor) -> Tensor:
        """(B, F, 3, H, W) -> (B, D): the mean of the frames' unit rows."""
        rows = self.pictures.image_features(pictures.flatten(0, 1))
        return F.normalize(rows.float(), dim=-1).unflatten(0, pictures.shape[:2]).mean(dim=1)

    def text_features(self, sentences: list[str]) -> Tensor:
        return self.pictures.text_features(sentences)

    def cut_texts(self, texts: Sequence[str]) -> int:
        return self.pictures.cut_texts(texts)

    def unknown_words(self, text: str) -> list[str]:
        return self.pictures.unknown_words(text)
