"""Scenes: sampled reproducibly, with everything in the picture and nothing where it does not belong."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from demo_world.lexicon import COLORS, NOUN, NOUNS, PEOPLE, VERBS
from demo_world.places import PLACE, PLACES, WEATHERS
from demo_world.scene import BACKDROPS, BIG, REFERENCE, SMALL, sample_scene


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(np.random.default_rng([17, index])) for index in range(4000)]


def _extent(thing, noun):
    half = noun.aspect * thing.height / 2
    return thing.x - half, thing.x + half


def test_same_generator_state_same_scene():
    assert sample_scene(np.random.default_rng(3)) == sample_scene(np.random.default_rng(3))
    assert sample_scene(np.random.default_rng(3)) != sample_scene(np.random.default_rng(4))


def test_everything_is_inside_the_picture(scenes):
    for scene in scenes:
        for group in scene.groups:
            for thing in group.things:
                left, right = _extent(thing, NOUN[group.noun])
                assert left >= 0.01 and right <= 0.99, scene
                assert thing.y <= 0.99 and thing.y - thing.height >= 0.0, scene


def test_nothing_is_where_it_does_not_belong(scenes):
    for scene in scenes:
        assert scene.weather in PLACE[scene.place].weathers and 0 <= scene.backdrop < BACKDROPS
        for group in scene.groups:
            noun = NOUN[group.noun]
            assert PLACE[scene.place].letter in noun.places and scene.weather not in noun.never
            assert 1 <= group.count <= noun.most
            assert group.color in (noun.colors or (None,))


def test_at_most_one_group_flies_and_it_comes_last(scenes):
    for scene in scenes:
        flying = [NOUN[group.noun].zone == "sky" for group in scene.groups]
        assert not any(flying[:-1])
        assert (scene.flying is None) == (not flying[-1])
        assert len(scene.standing) == len(flying) - flying[-1] >= 1


def test_groups_on_the_ground_have_blocks_of_their_own(scenes):
    for scene in scenes:
        blocks = []
        for group in scene.standing:
            extents = [_extent(thing, NOUN[group.noun]) for thing in group.things]
            blocks.append((min(e[0] for e in extents), max(e[1] for e in extents)))
        blocks.sort()
        assert all(before[1] < after[0] for before, after in pairwise(blocks)), scene


def test_the_sun_and_the_moon_stay_uncovered(scenes):
    for scene in scenes:
        if scene.weather in ("sunny", "night") and scene.flying is not None:
            extents = [_extent(thing, NOUN[scene.flying.noun]) for thing in scene.flying.things]
            if scene.backdrop % 2:
                assert max(e[1] for e in extents) <= 70.01 / REFERENCE
            else:
                assert min(e[0] for e in extents) >= 25.99 / REFERENCE


def test_big_and_small_are_what_is_said(scenes):
    seen = Counter()
    for scene in scenes:
        for group in scene.groups:
            seen[group.size] += 1
            ratio = group.things[0].height * REFERENCE / NOUN[group.noun].height
            if group.size == "big":
                assert ratio >= 1.2 and BIG >= 1.3
            elif group.size == "small":
                assert ratio <= SMALL + 1e-9
            if group.noun in PEOPLE or group.count > 1:
                assert group.size is None
    assert seen["big"] > 50 and seen["small"] > 50


def test_every_noun_place_weather_and_color_occurs(scenes):
    nouns = Counter(group.noun for scene in scenes for group in scene.groups)
    assert set(nouns) == set(NOUN) and min(nouns.values()) >= 20
    assert {scene.place for scene in scenes} == set(PLACE)
    assert {scene.weather for scene in scenes} == {weather.name for weather in WEATHERS}
    colors = {(group.noun, group.color) for scene in scenes for group in scene.groups if group.color}
    assert colors == {(noun.name, color) for noun in NOUNS for color in noun.colors}


def test_the_lexicon_is_consistent():
    assert 60 <= len(NOUNS) <= 100 and len(NOUN) == len(NOUNS)
    letters = {place.letter for place in PLACES}
    assert len(letters) == len(PLACES)
    for noun in NOUNS:
        assert noun.places and set(noun.places) <= letters, noun.name
        assert noun.verbs and set(noun.verbs) <= set(VERBS), noun.name
        assert set(noun.colors) <= set(COLORS), noun.name
        assert (noun.paint is None) == (len(noun.colors) < 2) or noun.paint == COLORS[noun.colors[0]], noun.name
        assert set(noun.never) <= {weather.name for weather in WEATHERS}
        assert noun.zone in ("ground", "water", "deep", "sky")
    forms = [one for noun in NOUNS for one, _ in ((noun.name, noun.plural), *noun.synonyms)]
    assert len(forms) == len(set(forms)), "a word names two nouns"
