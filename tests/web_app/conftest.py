"""Fixtures: the page's handlers with the shipped captioner of photos, and pictures to give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.config import compose_config
from image_captioning.generation import Decoding
from pcm_net.load import load_captioner
from web_app.captioners import Loader, load_all
from web_app.desk import Desk
from web_app.handlers import Handlers
from web_app.uploads import Limits


def load(checkpoint: str, others: list[str], queue_size: int = 16) -> Desk:
    consensus = Decoding("beam", beams=4, max_new_tokens=20, consensus_weight=50.0)
    return Desk(load_all(Loader(load_captioner, consensus), checkpoint, others), queue_size)


@pytest.fixture(scope="session")
def desk() -> Desk:
    """Of `pretrained/photos`, in fp32, with four beams."""
    return load("photos", [])


@pytest.fixture
def load_desk() -> Callable[..., Desk]:
    return load


@pytest.fixture
def handlers(desk) -> Handlers:
    return Handlers(desk, Limits(upload_mb=2, megapixels=2, files=4))


@pytest.fixture
def web_config() -> Callable[..., object]:
    return lambda *options: compose_config("web", *options)


def draw(path: Path, seed: int = 0, side: int = 96, **options) -> Path:
    """A picture of few colors, different for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)
    Image.fromarray(pixels).resize((side * 3 // 2, side), Image.Resampling.NEAREST).save(path, **options)
    return path


@pytest.fixture
def picture() -> Callable[..., Path]:
    """A writer of pictures: picture(path, seed=0, side=96)."""
    return draw
