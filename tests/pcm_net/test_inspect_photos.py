"""scripts/inspect_mixup.py photos=...: heat maps of one's own photos, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from embedding_space.encoders.base import EncodedImages
from evaluation.captions.patch_selection import PatchSelection
from pcm_net.inspect_mixup import inspect_mixup
from pcm_net.inspect_photos import InspectedPhoto, plot_photos
from pcm_net.load import load_captioner
from pcm_net.train import train


class StoredEncoder:
    """Gives photos the rows of a store's first test images; files that are called broken cannot be read."""

    medium = "image"

    def __init__(self, store):
        self.parts = (store.images("test"), store.patches("test")[:], store.patch_features("test")[:])

    def encode_image_shards(self, paths, shards, patches, done):
        assert patches
        for shard in shards:
            kept = [place for place, row in enumerate(shard) if "broken" not in paths[row].name]
            reasons = [f"{paths[row].name}: damaged" for row in shard if "broken" in paths[row].name]
            yield EncodedImages(*(part[: len(kept)] for part in self.parts), kept, reasons)


@pytest.fixture
def inspect(configured, store, compose, tmp_path, monkeypatch):
    """`inspect("photos=FOLDER", ...)`, with a small PCM-Net."""
    train(configured("run"))
    monkeypatch.setattr("pcm_net.inspect_photos.reload_encoder", lambda description: StoredEncoder(store))

    def inspect(*overrides: str) -> dict:
        options = (f"checkpoint={tmp_path / 'run'}", f"output_dir={tmp_path / 'mixup'}", *overrides)
        return inspect_mixup(compose("inspect_mixup", *options))

    return inspect


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, size in (("a.png", (60, 40)), ("broken.png", (9, 9)), ("c.jpg", (40, 60)), ("d.jpg", (50, 50))):
        Image.new("RGB", size, "white").save(folder / name)
    (folder / "notes.txt").write_text("no photo")
    return folder


def test_photos_that_can_be_read_have_concepts_and_a_heat_map(inspect, photos, store, tmp_path, capsys):
    results = inspect(f"photos={photos}", "pictures=2")
    captioner = load_captioner(tmp_path / "run")
    expected = captioner.named(captioner.mixup.select(store.images("test")[:3], store.patches("test")[:3]))
    assert [entry["photo"] for entry in results["photos"]] == ["a.png", "c.jpg", "d.jpg"]
    for entry, selection in zip(results["photos"], expected, strict=True):
        assert entry["selected"] == selection.places and entry["concepts"] == selection.words
        assert -1 <= entry["cosines"]["least"] <= entry["cosines"]["most"] <= 1
    assert json.loads((tmp_path / "mixup/mixup.json").read_text()) == results
    assert Image.open(tmp_path / "mixup/mixup.png").width > 900
    printed = capsys.readouterr()
    assert "Skipped: broken.png: damaged" in printed.err
    assert "2 of 3 photos (pictures=2)" in printed.out
    assert len(inspect(f"photos=[{photos}/a.png,{photos}/c.jpg]")["photos"]) == 2


def test_what_cannot_be_inspected_is_refused(inspect, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    for value, error, message in (
        (f"{tmp_path}/nowhere", FileNotFoundError, r"no file or folder .*nowhere \(option photos\)"),
        (f"{tmp_path}/empty", ValueError, "photos=.*empty.* holds no picture"),
        (f"{photos}/broken.png", ValueError, "none of the 1 pictures can be read"),
    ):
        with pytest.raises(error, match=message):
            inspect(f"photos={value}")
    assert not (tmp_path / "mixup").exists()


def test_the_heat_is_where_the_patches_are(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.png")
    selection = PatchSelection(2, "crop", [1], ["dog", "cat", "boat", "tree"])
    photo = InspectedPhoto(tmp_path / "photo.png", selection, torch.tensor([0.1, 0.4, 0.2, 0.3]))
    picture, heat = plot_photos([photo]).axes
    assert picture.get_title() == "dog, cat, boat" and heat.get_title() == "cosines 0.10 to 0.40"
    image = heat.images[1]
    assert list(image.get_extent()) == [9.5, 49.5, 39.5, -0.5]  # the middle square, which a crop shows the CLIP
    assert np.allclose(image.get_array(), [[0.1, 0.4], [0.2, 0.3]])
    [frame] = heat.patches
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (29.5, -0.5, 20, 20)
