"""Pictures of a split's captions: C³'s protocol, resumed exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from image_generation.draw_split import Prompts, draw_split
from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator

NETWORK = {"channels": [16, 32], "attention": [False, False], "layers": 1, "head_channels": 16, "patch": 2}
SAMPLING = Sampling(steps=1, batch_size=3)


@pytest.fixture
def generator(picture_store, tmp_path) -> ImageGenerator:
    torch.manual_seed(0)
    encoder = picture_store.manifest.encoder
    model = ImageGenerator(16, 16, NETWORK, [{"step": "Normalize"}], encoder, provenance={"uses_pairs": False})
    model.save_pretrained(tmp_path / "generator")
    return ImageGenerator.load(tmp_path / "generator")


def test_each_image_has_one_of_its_captions_and_images_are_repeated(picture_store):
    pairs = picture_store.pairs("val")
    once = Prompts("val").chosen(picture_store)
    assert pairs[once].tolist() == sorted(set(pairs.tolist()))
    often = Prompts("val", count=2 * len(once) + 3).chosen(picture_store)
    assert pairs[often].tolist() == [*pairs[once]] * 2 + [*pairs[once[:3]]]
    assert np.array_equal(often, Prompts("val", count=len(often)).chosen(picture_store))


def test_pictures_are_drawn_once_and_an_interrupted_drawing_goes_on(generator, picture_store, tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    draw_split(generator, picture_store, Prompts("val", 8, 5), SAMPLING, folder)
    index = json.loads((folder / "images.json").read_text())
    captions = dict(
        zip(*(picture_store.tables.captions[name].to_pylist() for name in ("caption_id", "caption")), strict=True)
    )
    assert len(index["images"]) == 8 and index["uses_pairs"] is False
    for row in index["images"]:
        assert captions[row["caption_id"]] == row["sentence"] and row["caption_id"].startswith(row["image_id"])
    with Image.open(folder / "000003.png") as picture:
        assert picture.text["sentence"] == index["images"][3]["sentence"]
        pixels = np.asarray(picture)
    row = Prompts("val", 8, 5).chosen(picture_store)[3]
    alone = generator.generate(generator.align(picture_store.texts("val")[[row]]), [5 + 3], SAMPLING)
    assert abs(alone[0].numpy().astype(int) - pixels).max() <= 1

    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    for name in ("images.json", "000002.png", "000006.png"):
        (folder / name).unlink()
    draw_split(generator, picture_store, Prompts("val", 8, 5), SAMPLING, folder)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    assert {name for name in before if before[name] != after[name]} == {"000002.png", "000006.png"}
    assert json.loads((folder / "images.json").read_text())["images"] == index["images"]

    with pytest.raises(ValueError, match="holds pictures of another sampling: choose another output_dir"):
        draw_split(generator, picture_store, Prompts("val", 8, 5), Sampling(steps=2), folder)
    draw_split(generator, picture_store, Prompts("val", 2), SAMPLING, folder, overwrite=True)
    assert sorted(path.name for path in folder.glob("*.png")) == ["000000.png", "000001.png"]

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/000000.png").write_bytes(b"of somebody")
    with pytest.raises(ValueError, match=r"holds 000000\.png, which no evaluation drew"):
        draw_split(generator, picture_store, Prompts("val", 2), SAMPLING, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine/000000.png").read_bytes() == b"of somebody"


def test_a_store_of_another_encoder_is_refused(generator, picture_store, tmp_path):
    generator.encoder_description = {"name": "other", "model": "other", "pretrained": None}
    with pytest.raises(ValueError, match="The generator reads embeddings of other"):
        draw_split(generator, picture_store, Prompts("val", 2), SAMPLING, tmp_path / "pictures")
