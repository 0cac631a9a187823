"""What a picture of the demo world shows: which nouns, which place, which weather.

A small convolutional network looks at a picture of 64 x 64 pixels. It is trained on scenes that the world draws
(`python -m demo_world.train`), never on the demo's own, and judges pictures that others generate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import ImageOps
from PIL.Image import Image, Resampling
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from common.checkpoint import load_checkpoint, save_checkpoint
from common.errors import OtherModel
from common.paths import find_local_folder
from demo_world.lexicon import NOUN
from demo_world.places import PLACE, WEATHER
from embedding_space.pictures import open_picture

VOCABULARY = {"nouns": [*NOUN], "places": [*PLACE], "weathers": [*WEATHER]}
SHIPPED = Path("pretrained/demo_detector")
BATCH_SIZE = 256  # pictures at once


class Logits(NamedTuple):
    """What the network says of B pictures, before any sigmoid or softmax."""

    nouns: Tensor  # (B, nouns)
    places: Tensor  # (B, places)
    weathers: Tensor  # (B, weathers)


class Sights(NamedTuple):
    """What the detector sees in N pictures, on the CPU."""

    nouns: Tensor  # (N, nouns) float32, the probability that the picture has such a thing
    places: Tensor  # (N, places) float32, which sum to 1
    weathers: Tensor  # (N, weathers) float32, which sum to 1


class Detector(nn.Module):
    """Pictures (B, 3, S, S) uint8 -> `Logits`.

    Args:
        image_size: S, pixels, a multiple of 8.
        widths: channels of the residual stages; each halves the resolution, the first one by folding 2 x 2 pixels into
            channels, which loses nothing of small things.
        nouns, places, weathers: the words that the outputs stand for, in order; by default the world's.

    Attributes:
        threshold: () the probability from which a noun counts as seen; 0.5 until training has chosen another.
    """

    threshold: Tensor

    def __init__(
        self,
        image_size: int = 64,
        widths: Sequence[int] = (48, 96, 192),
        nouns: Sequence[str] = tuple(VOCABULARY["nouns"]),
        places: Sequence[str] = tuple(VOCABULARY["places"]),
        weathers: Sequence[str] = tuple(VOCABULARY["weathers"]),
    ):
        super().__init__()
        self.config = {
            "image_size": image_size,
            "widths": list(widths),
            "nouns": list(nouns),
            "places": list(places),
            "weathers": list(weathers),
        }
        self.image_size, self.nouns, self.places, self.weathers = image_size, list(nouns), list(places), list(weathers)
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),
            _convolution(12, widths[0]),
            *(
                _Residual(inside, outside, stride=2 if number else 1)
                for number, (inside, outside) in enumerate(zip((widths[0], *widths), widths, strict=False))
            ),
        )
        # Things are somewhere, the place and the weather everywhere: the maximum serves the ones, the mean the others.
        self.noun_head = nn.Linear(2 * widths[-1], len(nouns))
        self.place_head = nn.Linear(2 * widths[-1], len(places))
        self.weather_head = nn.Linear(2 * widths[-1], len(weathers))
        self.register_buffer("threshold", torch.tensor(0.5))

    def forward(self, pictures: Tensor) -> Logits:
        grid = self.trunk((pictures.float() / 255 - 0.5) / 0.25)  # (B, W, h, w)
        features = torch.cat([grid.amax((2, 3)), grid.mean((2, 3))], dim=1)  # (B, 2 W)
        return Logits(self.noun_head(features), self.place_head(features), self.weather_head(features))

    @torch.inference_mode()
    def look(self, pictures: Tensor) -> Sights:
        """What is seen in pictures (N, 3, S, S) uint8, in evaluation mode, on the model's device."""
        device, parts = self.threshold.device, []
        for part in pictures.split(BATCH_SIZE):
            logits = self(part.to(device))
            parts.append((logits.nouns.sigmoid(), logits.places.softmax(1), logits.weathers.softmax(1)))
        return Sights(*(torch.cat(column).float().cpu() for column in zip(*parts, strict=True)))

    def look_at_files(self, paths: Sequence[Path]) -> Sights:
        """What is seen in picture files of any size. Raises as `open_picture`."""
        sights = []
        for start in range(0, len(paths), BATCH_SIZE):
            pictures = [to_pixels(open_picture(path), self.image_size) for path in paths[start : start + BATCH_SIZE]]
            sights.append(self.look(torch.stack(pictures)))
        return Sights(*(torch.cat(column) for column in zip(*sights, strict=True)))

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`: weights in float16, statistics and threshold in float32."""
        save_checkpoint(self, self.config, folder)

    @classmethod
    def load(cls, folder: str | Path = SHIPPED) -> Detector:
        """Read back what `save` wrote, strictly; in evaluation mode.

        Raises:
            MissingModel: a file is missing.
            DamagedModel: a file is damaged or belongs to another kind of model.
            OtherModel: it was trained on a world of other words.
        """
        folder = find_local_folder(folder)
        model = load_checkpoint(cls, folder, "detector", "demo_world").requires_grad_(False)
        for kind, words in VOCABULARY.items():
            if model.config[kind] != words:
                raise OtherModel(f"The detector in {folder} knows other {kind} than the demo world has", "demo_world")
        return model


def to_pixels(picture: Image, size: int) -> Tensor:
    """An RGB picture -> (3, size, size) uint8: the largest square in its center, resized."""
    return pil_to_tensor(ImageOps.fit(picture, (size, size), Resampling.BICUBIC))


def _convolution(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    """Two convolutions around which the input is added, by a 1 x 1 convolution where its shape differs (He et al. 2016,
    arXiv:1512.03385, figure 2)."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.first = _convolution(inside, outside, stride)
        self.second = nn.Sequential(nn.Conv2d(outside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside))
        self.around = nn.Identity()
        if inside != outside or stride != 1:
            self.around = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(inside, outside, 1, bias=False))

    def forward(self, grid: Tensor) -> Tensor:
        return (self.second(self.first(grid)) + self.around(grid)).relu()
