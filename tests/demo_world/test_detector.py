"""The detector's network, its files, and the one that is shipped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import DamagedModel, MissingModel, OtherModel
from demo_world.detector import VOCABULARY, Detector, to_pixels
from demo_world.detector_metrics import measure_sights
from demo_world.labeled_scenes import draw_scenes, misplaced_scene
from demo_world.lexicon import NOUN
from demo_world.places import PLACES
from demo_world.world import scene_and_captions


@pytest.fixture
def small() -> Detector:
    torch.manual_seed(0)
    return Detector(image_size=16, widths=(4, 8)).eval()


def pictures(count: int, side: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def test_probabilities_have_the_worlds_words(small):
    sights = small.look(pictures(5))
    assert [len(column[0]) for column in sights] == [len(words) for words in VOCABULARY.values()]
    assert (sights.nouns > 0).all() and (sights.nouns < 1).all()
    torch.testing.assert_close(sights.places.sum(1), torch.ones(5))
    torch.testing.assert_close(sights.weathers.sum(1), torch.ones(5))


def test_files_of_any_size_are_seen_as_their_square(small, tmp_path):
    Image.new("RGB", (40, 20), "red").save(tmp_path / "wide.png")
    Image.new("L", (7, 9), 30).save(tmp_path / "gray.png")
    sights = small.look_at_files([tmp_path / "wide.png", tmp_path / "gray.png"])
    red = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    red[:, 0] = 255
    torch.testing.assert_close(sights.nouns[:1], small.look(red).nouns)
    assert len(sights.places) == 2 and to_pixels(Image.new("RGB", (40, 20)), 16).shape == (3, 16, 16)


def test_it_comes_back_from_its_files(small, tmp_path):
    small.threshold.fill_(0.123456789)
    small.save(tmp_path)
    loaded = Detector.load(tmp_path)
    assert loaded.threshold == small.threshold and not loaded.training
    torch.testing.assert_close(loaded.look(pictures(3)).nouns, small.look(pictures(3)).nouns, atol=2e-3, rtol=0)


def test_other_files_are_refused(small, tmp_path):
    with pytest.raises(MissingModel, match="No detector in"):
        Detector.load(tmp_path)
    small.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "nouns": [*config["nouns"][1:], "unicorn"]}))
    with pytest.raises(OtherModel, match="knows other nouns than the demo world has"):
        Detector.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "widths": [4, 9]}))
    with pytest.raises(DamagedModel):
        Detector.load(tmp_path)


def test_labels_are_what_the_scenes_hold():
    scenes = draw_scenes(5, "test", 3, 32)
    for row in range(3):
        scene, captions = scene_and_captions(5, "test", row)
        there = {VOCABULARY["nouns"][noun] for noun in scenes.nouns[row].nonzero()[:, 0]}
        assert there == {group.noun for group in scene.groups} and scenes.captions[row] == captions
        assert VOCABULARY["places"][scenes.places[row]] == scene.place
        assert VOCABULARY["weathers"][scenes.weathers[row]] == scene.weather
    assert scenes.pictures.shape == (3, 3, 32, 32) and scenes.pictures.dtype == torch.uint8


def test_misplaced_scenes_have_what_the_world_never_has():
    scenes = [misplaced_scene(np.random.default_rng(number)) for number in range(60)]
    letters = {place.name: place.letter for place in PLACES}
    odd = [[letters[scene.place] not in NOUN[group.noun].places for group in scene.groups] for scene in scenes]
    assert 0.5 < np.mean([any(groups) for groups in odd]) <= 1
    for scene in scenes:
        assert len({group.noun for group in scene.groups}) == len(scene.groups) >= 1
        assert all(NOUN[group.noun].zone != "sky" for group in scene.groups[:-1])
    some = draw_scenes(5, "test", 20, 16, misplaced=0.5)
    assert 0 < sum(not captions for captions in some.captions) < 20


def test_the_shipped_one_sees_the_worlds_scenes():
    detector = Detector.load()
    scenes = draw_scenes(11, "pretrain", 60, detector.image_size)  # of a world that it was not trained on
    metrics = measure_sights(detector.look(scenes.pictures), scenes, detector.threshold.item())
    assert metrics.noun_recall > 0.95 < metrics.noun_precision
    assert metrics.place_accuracy > 0.95 < metrics.weather_accuracy
