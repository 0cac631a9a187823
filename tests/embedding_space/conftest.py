"""Fixtures of the encoders' tests."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory) -> None:
    """open_clip models small enough to be made in no time: tiny, tiny-quickgelu, tiny-resnet and tiny-wide."""
    import open_clip  # six seconds, which tests without an encoder do without

    folder = tmp_path_factory.mktemp("models")
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    vision = {"image_size": 64, "layers": 2, "width": 64, "patch_size": 32}
    resnet = {"image_size": 96, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    for name, tower, quick in (
        ("tiny", vision, False),
        ("tiny-quickgelu", vision, True),
        ("tiny-resnet", resnet, True),
        ("tiny-wide", {**vision, "image_size": [32, 64]}, False),
    ):
        config = {"embed_dim": 24, "quick_gelu": quick, "vision_cfg": tower, "text_cfg": text}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
