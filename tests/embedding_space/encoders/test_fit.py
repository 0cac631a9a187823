"""Which part of a picture an encoder sees, against what its preprocessing does to a picture."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from common.paths import ROOT
from embedding_space.encoders.fit import fitted_box, picture_fit
from embedding_space.encoders.load import load_encoder
from embedding_space.encoders.towers import Preprocess


def picture_of_places(width: int, height: int) -> Image.Image:
    """A pixel's red says how far right it is, its green how far down."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, 0 * down], axis=-1).round().astype(np.uint8))


def seen_box(pixels: torch.Tensor, width: int, height: int) -> tuple[float, ...]:
    """Left, top, width and height of what (3, S, S) pixels in 0 ... 1 show, by their corners' colors."""
    (left, top), (right, bottom) = (pixels[:2, corner, corner].tolist() for corner in (0, -1))
    return left * width, top * height, (right - left) * width, (bottom - top) * height


@pytest.mark.parametrize("size", [(300, 200), (200, 300)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_a_tower_sees_the_box_that_its_description_says(resize, size):
    tower = {"kind": "towers", "image_tower": {"resize": resize}}
    pixels = Preprocess(100, (0, 0, 0), (1, 1, 1), resize)(picture_of_places(*size))
    assert seen_box(pixels, *size) == pytest.approx(fitted_box(picture_fit(tower), *size), abs=5)


@pytest.mark.parametrize(("mode", "fit"), [("shortest", "crop"), ("squash", "squash"), ("longest", "pad")])
def test_an_open_clip_folder_sees_the_box_that_its_file_says(tmp_path, mode, fit):
    shutil.copytree(ROOT / "pretrained/demo_clip", tmp_path / "clip")
    config = json.loads((tmp_path / "clip/open_clip_config.json").read_text())
    way = {"resize_mode": mode, "mean": [0.0] * 3, "std": [1.0] * 3}
    config["preprocess_cfg"] |= way
    (tmp_path / "clip/open_clip_config.json").write_text(json.dumps(config))
    encoder = load_encoder("mine", model=f"local-dir:{tmp_path / 'clip'}", device="cpu")
    assert picture_fit(encoder.description) == fit
    pixels, box = encoder.preprocess(picture_of_places(300, 200)), fitted_box(fit, 300, 200)
    if fit == "pad":
        assert box == (0, -50, 300, 300) and (pixels[:, 5] == 0).all() and (pixels[:, -5] == 0).all()
    else:
        assert seen_box(pixels, 300, 200) == pytest.approx(box, abs=6)


def test_tags_have_their_own_ways_and_what_is_unknown_is_cropped():
    assert picture_fit({"model": "ViT-B-16-SigLIP", "pretrained": "webli"}) == "squash"
    assert picture_fit({"model": "ViT-B-32-quickgelu", "pretrained": "openai"}) == "crop"
    assert picture_fit({"kind": "towers", "heads": "pretrained/photos/clip"}) == "squash"
    for unknown in ({"name": "none"}, {"model": "ViT-B-32", "pretrained": "mine.pt"}, {"model": "local-dir:gone"}):
        assert picture_fit(unknown) == "crop"
    assert fitted_box("crop", 300, 200) == (50, 0, 200, 200)
