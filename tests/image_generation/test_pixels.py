"""Pictures as one array: each is the central square of its file, and what cannot be read is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from image_generation.pixels import load_pixels, read_square, to_pixels, to_unit_range


def test_rows_are_the_pictures_of_the_split_and_are_read_once(picture_store, monkeypatch):
    array = load_pixels(picture_store, "val", 8)
    paths = picture_store.tables.image_paths(picture_store.tables.image_rows("val"))
    assert array.shape == (len(paths), 8, 8, 3) and array.dtype == np.uint8
    for path, pixels in zip(paths, array, strict=True):
        assert np.array_equal(pixels, np.broadcast_to(np.asarray(Image.open(path))[0, 0], (8, 8, 3)))
    monkeypatch.setattr("image_generation.pixels._write", None)
    assert np.array_equal(load_pixels(picture_store, "val", 8), array)


def test_a_wide_picture_loses_its_sides(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_square(tmp_path / "a.png", 10) == 200).all()


def test_an_unreadable_picture_is_named_and_nothing_is_left(picture_store):
    path = picture_store.tables.image_paths(picture_store.tables.image_rows("val"))[3]
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=f"{path.name} cannot be read as a picture"):
        load_pixels(picture_store, "val", 8)
    assert not list((picture_store.path.parent / "pixels").iterdir())


def test_pixels_come_back_from_the_unit_range():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).repeat(1, 1, 1, 3)
    ranged = to_unit_range(pixels)
    assert ranged.shape == (1, 3, 16, 16) and ranged.min() == -1 and ranged.max() == 1
    assert torch.equal(to_pixels(ranged), pixels)
    assert torch.equal(to_pixels(torch.full((1, 3, 2, 2), 5.0)), torch.full((1, 2, 2, 3), 255, dtype=torch.uint8))
