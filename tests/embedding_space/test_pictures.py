"""Pictures: upright, over white, and one sentence for files that are none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from embedding_space.pictures import open_picture


@pytest.fixture
def scene(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    return tmp_path / "scene.png", pixels


def test_an_opaque_picture_is_unchanged(scene):
    path, pixels = scene
    assert np.array_equal(np.asarray(open_picture(path)), pixels)
    assert np.array_equal(np.asarray(open_picture(str(path))), pixels)


@pytest.mark.parametrize(
    ("mode", "clear", "black"), [("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), ("LA", (0, 0), (0, 255)), ("P", 9, 0)]
)
def test_transparent_parts_become_white(tmp_path, mode, clear, black):
    picture = Image.new(mode, (4, 4), clear)
    picture.putpixel((1, 2), black)
    if mode == "P":
        picture.putpalette([0] * 768)
    picture.save(tmp_path / "clear.png", **({"transparency": clear} if mode == "P" else {}))
    opened = open_picture(tmp_path / "clear.png")
    assert opened.mode == "RGB"
    assert opened.getpixel((0, 0)) == (255, 255, 255) and opened.getpixel((1, 2)) == (0, 0, 0)


def test_a_colour_that_stands_for_transparency_becomes_white(tmp_path):
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "keyed.png", transparency=(1, 2, 3))
    assert open_picture(tmp_path / "keyed.png").getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_is_turned_as_its_camera_was_held(scene, tmp_path):
    _, pixels = scene
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise to see it upright
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "turned.png")), np.rot90(pixels, -1))


def test_bad_files_are_told_in_one_sentence(scene, tmp_path, monkeypatch):
    path, _ = scene
    with pytest.raises(FileNotFoundError, match=r"There is no picture .*gone\.png"):
        open_picture(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:600])
    for name in ("text.png", "cut.png"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as a picture"):
            open_picture(tmp_path / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"scene\.png cannot be read as a picture: Image size"):
        open_picture(path)
