"""Scenes from captions alone: all that is said is there, and what is not said is as the world has it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from demo_world.captions import ABOVE, HALVES, LEFT_OF
from demo_world.lexicon import NOUN
from demo_world.parse import Description, Mention, parse_caption
from demo_world.places import PLACE
from demo_world.world import scene_and_captions
from synthetic_images.demo_plan import lay_out_plan, make_plan


@pytest.fixture(scope="module")
def painted():
    """(caption, what it says, the scene laid out from it, the group of each mention) of thousands of captions."""
    entries = []
    for index in range(500):
        for number, caption in enumerate(scene_and_captions(3, "train", index)[1]):
            rng, said = np.random.default_rng([index, number]), parse_caption(caption)
            entries.append((caption, said, *lay_out_plan(make_plan(said, rng), rng)))
    return entries


def test_the_scene_shows_what_is_said_and_nothing_else(painted):
    for caption, said, scene, groups in painted:
        assert scene.place == (said.place or scene.place) and scene.weather == (said.weather or scene.weather), caption
        assert len(scene.groups) == len(groups) == len(said.mentions), caption
        for mention, group in zip(said.mentions, groups, strict=True):
            assert group.noun == mention.noun and group.count in mention.counts, caption
            assert mention.color in (None, group.color), caption
            assert mention.size in (None, group.size), caption


def test_relations_hold(painted):
    for caption, said, scene, groups in painted:
        for relation in said.relations:
            subject, other = groups[relation.subject], groups[relation.other]
            if relation.kind == "above":
                assert subject.bottom <= other.top and abs(subject.x - other.x) <= ABOVE, caption
            elif relation.kind == "beside":
                assert not any(min(subject.x, other.x) < group.x < max(subject.x, other.x) for group in scene.standing)
            else:
                left, right = (subject, other) if relation.kind == "left of" else (other, subject)
                assert right.x - left.x >= LEFT_OF, caption
                assert not relation.halves or (left.x < HALVES[0] and right.x > HALVES[1]), caption


def test_the_scene_is_one_that_the_world_may_have(painted):
    for caption, _, scene, _ in painted:
        assert scene.weather in PLACE[scene.place].weathers, caption
        for group in scene.groups:
            noun = NOUN[group.noun]
            assert PLACE[scene.place].letter in noun.places and scene.weather not in noun.never, caption
            assert group.count <= noun.most and group.color in (noun.colors or (None,)), caption
            for thing in group.things:
                x0, y0, x1, y1 = group.box(thing)
                assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, caption
        blocks = sorted(
            (min(group.box(thing)[0] for thing in group.things), max(group.box(thing)[2] for thing in group.things))
            for group in scene.standing
        )
        assert all(before[1] < after[0] for before, after in pairwise(blocks)), caption


def test_what_is_not_said_varies_and_follows_the_world():
    said = parse_caption("a group of dogs")
    plans = [make_plan(said, np.random.default_rng(seed)) for seed in range(600)]
    places = Counter(plan.place for plan in plans)
    assert set(places) == {name for name, place in PLACE.items() if place.letter in NOUN["dog"].places}
    assert {plan.items[0].color for plan in plans} == set(NOUN["dog"].colors)
    counts = Counter(plan.items[0].count for plan in plans)
    assert set(counts) == {3, 4} and counts[3] / 600 == pytest.approx(0.1 * 0.2 / (0.1 * 0.2 + 0.05 * 0.25), abs=0.07)
    weathers = Counter(plan.weather for plan in plans if plan.place == "meadow")
    assert len(weathers) == 6


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Description("beach", None, (Mention("polar bear", (1,)),)), "no place of the demo world has all of it"),
        (Description(None, "rainy", (Mention("campfire", (1,)),)), "no place of the demo world has all of it"),
        (Description(None, None, (Mention("dove", (1,)), Mention("eagle", (1,)))), "one kind of flying things"),
    ],
)
def test_what_the_world_never_shows_is_refused(said, message):
    with pytest.raises(ValueError, match=message):
        make_plan(said, np.random.default_rng(0))
