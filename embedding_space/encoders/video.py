"""Videos by any encoder of pictures: the mean of a few frames' rows, or the row of a picture of these frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from embedding_space.videos import FRAMES, PICTURES, read_frames, shape_of

Pooling = Literal["mean", "grid", "flow"]


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


class LoadPicture:
    """A video file as one picture, preprocessed.

    Args:
        make: the picture of a file, one of `videos.PICTURES` with its options.
    """

    def __init__(self, preprocess: Callable[[Image.Image], Tensor], make: Callable[[Path], Image.Image]):
        self.preprocess, self.make = preprocess, make

    def __call__(self, path: Path) -> Tensor:
        """A file -> (3, H, W). Raises as `read_frames`."""
        return self.preprocess(self.make(path))


class VideoEncoder(Encoder):
    """Videos as the mean of their frames' unit rows, brought to unit length; texts as the picture encoder's.

    A mean knows no order: a video and its reverse have one row. A picture of several frames does, if the tower was
    trained on such (`python -m contrastive.train model=video_clip`).

    Args:
        name: the encoder's short name; its stores' folder name.
        of: the picture encoder, as its config or description; batch size, precision and device are this one's.
        frames: how many of a video (`read_frames`).
        pooling: "mean" of the frames' rows; or the row of one picture of all frames, a "grid" of them
            (`frame_grid`) or the middle one beside their "flow" (`flow_picture`).
        side: of a frame in that picture, in pixels.
        options: those of `Encoder`; `batch_size` counts videos.

    Attributes:
        description: `name`, `kind`, `frames`, `pooling`, `side` of a grid, `precision` and `of`, the picture encoder's
            description.

    Raises:
        ValueError: an option is out of range, or `of` is no encoder of pictures.
        ImportError: PyAV is not installed.
    """

    medium: Medium = "video"

    def __init__(
        self,
        name: str,
        of: Mapping[str, Any],
        frames: int = FRAMES,
        pooling: Pooling = "mean",
        side: int | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        require("av")
        if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
            raise ValueError(f"encoder.frames={frames} must be a whole number, at least 1")
        if pooling not in get_args(Pooling):
            raise ValueError(f"encoder.pooling={pooling!r} must be one of {', '.join(get_args(Pooling))}")
        if (side is None) == (pooling != "mean") or (side is not None and side < 1):
            raise ValueError(
                f"encoder.side={side} with encoder.pooling={pooling}: frames of a grid or of a flow, and no others, "
                "need a side in pixels, at least 1"
            )
        if pooling == "flow" and frames < 2:
            raise ValueError(
                f"encoder.frames={frames} with encoder.pooling=flow must be at least 2: one shows no motion"
            )
        shared = {"batch_size": self.batch_size, "precision": self.precision, "device": str(self.device)}
        self.pictures = load_encoder(**{"name": name, **of, **shared, "workers": 0})
        if self.pictures.medium != "image":
            read = NAMES[self.pictures.medium]
            raise ValueError(f"encoder.of of encoder={name} reads {read}: it must be an encoder of pictures")
        self.frames, self.pooling, self.side = frames, pooling, side
        self._check_shape()
        self.dims, self.joint = self.pictures.dims, self.pictures.joint
        inner = {key: value for key, value in self.pictures.description.items() if key != "precision"}
        self.description = {
            "name": name,
            "kind": "video",
            "frames": frames,
            "pooling": pooling,
            **({} if side is None else {"side": side}),
            "precision": self.precision,
            "of": inner,
        }

    def _check_shape(self) -> None:
        """Raise ValueError for a tower that would crop the picture of all frames."""
        if self.side is None:
            return
        rows, columns = shape_of(self.pooling, self.frames)
        height, width = self.pictures.preprocess(Image.new("RGB", (columns * self.side, rows * self.side))).shape[-2:]
        if height * columns != width * rows:
            raise ValueError(
                f"encoder.pooling={self.pooling} of {self.frames} frames makes pictures of {rows} x {columns} squares, "
                f"which encoder.of would crop to {height} x {width} pixels: take a tower that was trained on such "
                "pictures, or another encoder.pooling"
            )

    @property
    def load(self) -> Callable[[Path], Tensor]:
        if self.side is not None:
            make = partial(PICTURES[self.pooling], count=self.frames, side=self.side)
            return LoadPicture(self.pictures.preprocess, make)
        return LoadFrames(self.pictures.preprocess, self.frames)

    def image_features(self, pictures: Tensor) -> Tensor:
        """(B, F, 3, H, W) -> (B, D), the mean of the frames' unit rows; of one picture (B, 3, H, W) -> (B, D)."""
        if self.pooling != "mean":
            return self.pictures.image_features(pictures)
        rows = self.pictures.image_features(pictures.flatten(0, 1))
        return F.normalize(rows.float(), dim=-1).unflatten(0, pictures.shape[:2]).mean(dim=1)

    def text_features(self, sentences: list[str]) -> Tensor:
        return self.pictures.text_features(sentences)

    def cut_texts(self, texts: Sequence[str]) -> int:
        return self.pictures.cut_texts(texts)

    def unknown_words(self, text: str) -> list[str]:
        return self.pictures.unknown_words(text)
