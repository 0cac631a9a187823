"""A tiny store whose images are pictures, and configs of a tiny generator."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

TINY = (
    "size=16", "network.channels=[16,32]", "network.attention=[false,true]", "network.layers=1", "network.patch=2",
    "network.head_channels=16", "sampling.steps=2", "loop.steps=6", "loop.batch_size=8", "loop.warmup_steps=0",
    "loop.evaluate_every=3", "loop.checkpoint_every=null", "loop.precision=fp32", "loop.ema_decay=null", "samples=3",
    "predicts=velocity", "validation_images=5",
)  # fmt: skip


@pytest.fixture
def picture_store(make_store):
    """The tiny store; each image file is now a picture of its own color, 24 x 20 pixels."""
    store = make_store(dim=16)
    random = np.random.default_rng(0)
    for path in store.tables.image_paths(np.arange(len(store.tables.images))):
        pixels = np.full((20, 24, 3), random.integers(256, size=3), np.uint8)
        Image.fromarray(pixels).save(path, format="PNG")
    return store


@pytest.fixture
def training_config(picture_store, compose, tmp_path):
    """Compose the config of a tiny training: `training_config(folder name, overrides...)`."""

    def config(name: str, *overrides: str):
        paths = (f"store={picture_store.path}", f"output_dir={tmp_path / name}")
        return compose("image_generation", *paths, *TINY, *overrides)

    return config
