"""Stand-ins for published weights and pictures: a tiny random tower, and pictures that are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.files import file_sha256
from embedding_space.encoders.open_clip_encoder import OpenClipEncoder
from evaluation.encoders.pictures import PICTURES, Picture

TEXTS = ("a diagram", "a dog", "a cat")


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    """A folder with CLIP.png (partly transparent) and 000000039769.jpg, made, whose hashes are known here."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, channels in (("CLIP.png", 4), ("000000039769.jpg", 3)):
        coarse = random.integers(0, 256, (6, 9, channels), dtype=np.uint8)
        Image.fromarray(coarse).resize((270, 180), Image.Resampling.NEAREST).save(folder / name)
        monkeypatch.setitem(PICTURES, name, Picture(file_sha256(folder / name), url=f"http://127.0.0.1:9/{name}"))
    return folder


@pytest.fixture(scope="session")
def tiny_file(tiny_models, tmp_path_factory) -> Path:
    """A checkpoint of tiny-quickgelu whose weights are far enough from zero that its activation shows."""
    encoder = OpenClipEncoder("tiny", "tiny-quickgelu", "random", device="cpu")
    state, generator = encoder.model.state_dict(), torch.Generator().manual_seed(1)
    for name, value in state.items():
        if name.endswith("mlp.c_fc.weight") or name.endswith("mlp.c_proj.weight"):
            state[name] = value + 0.3 * torch.randn(value.shape, generator=generator)
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save(state, path)
    return path
