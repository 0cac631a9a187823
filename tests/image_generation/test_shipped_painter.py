"""pretrained/demo_painter draws the places that sentences name, by the eyes of the demo world's detector."""

from __future__ import annotations

import json
from dataclasses import replace

from common.files import file_sha256
from common.paths import PRETRAINED
from demo_world.detector import VOCABULARY, Detector
from embedding_space.encoders.load import reload_encoder
from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator
from image_generation.sources import TrainedGenerator

SENTENCES = {
    "beach": "a crab on a beach", "desert": "two camels in a desert", "city": "a yellow taxi in a city",
    "mountains": "a brown goat in the mountains", "forest": "a fox in a forest", "farm": "a pig on a farm",
}  # fmt: skip


def test_it_draws_places_offline(tmp_path):
    generator = ImageGenerator.load("demo_painter")
    assert generator.provenance["uses_pairs"] is False
    encoder = reload_encoder(generator.encoder_description)
    source = TrainedGenerator(generator, encoder, "c3", replace(Sampling(), steps=6), "auto")
    pictures = source.draw(source.rows(list(SENTENCES.values())), range(len(SENTENCES)), None)
    paths = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for picture, path in zip(pictures, paths, strict=True):
        assert picture.size == (64, 64)
        picture.save(path)
    places = [VOCABULARY["places"][number] for number in Detector.load().look_at_files(paths).places.argmax(1)]
    right = sum(seen == place for seen, place in zip(places, SENTENCES, strict=True))
    assert right >= len(SENTENCES) - 1, places


def test_its_manifest_is_of_its_weights():
    folder = PRETRAINED / "demo_painter"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["sha256"] == file_sha256(folder / "model.safetensors")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 16e6
