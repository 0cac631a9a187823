"""Plain pictures of a color, and an encoder that knows colors and their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from embedding_space.encoders.base import Encoder

COLORS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}


def mean_color(picture: Image.Image) -> torch.Tensor:
    return pil_to_tensor(picture.resize((4, 4))).float()


class ColorEncoder(Encoder):
    """A picture's mean color, 0 to 255; a sentence's color by its last word."""

    def __init__(self, name: str = "colors", joint: bool = True):
        super().__init__(batch_size=3, device="cpu")
        self.dims = {"images": 3, "texts": 3}
        self.description, self.joint = {"name": name, "model": name}, joint

    @property
    def preprocess(self):
        return mean_color

    def image_features(self, pictures):
        return pictures.mean((2, 3))

    def text_features(self, sentences):
        return torch.tensor([COLORS[sentence.split()[-1]] for sentence in sentences]).float()


@pytest.fixture
def color_encoder() -> type[ColorEncoder]:
    return ColorEncoder


@pytest.fixture
def write_pictures(tmp_path):
    """A factory of folders of pictures, one of each color name, with their sentences unless `sentences` is false."""

    def write(name: str, colors, sentences: bool = True, side: int = 16, facts: dict | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        images = []
        for number, color in enumerate(colors):
            shade = tuple(max(0, value - number) for value in COLORS[color])  # no two pictures are the same
            Image.new("RGB", (side, side), shade).save(folder / f"{number:03d}.png")
            images.append({"file": f"{number:03d}.png", "sentence": f"a picture in {color}", "image_id": number})
        if sentences:
            (folder / "images.json").write_text(json.dumps({**(facts or {}), "images": images}))
        return folder

    return write
