"""Scenes that move: what moves, moves as it says, inside the picture, and in a way that it can."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from demo_world.lexicon import NOUN
from demo_world.motion.scene import Pose, posed, sample_motion_scene
from demo_world.motion.verbs import CHANGES, KIND_OF_FORM, KINDS, LOOKS_RIGHT, forms, ways
from demo_world.scene import Group, Thing

SCENES = 1500


@pytest.fixture(scope="module")
def scenes():
    return [sample_motion_scene(np.random.default_rng([73, index])) for index in range(SCENES)]


def test_what_moves_moves_as_it_says(scenes):
    for scene in scenes:
        first, last = scene.start, scene.end
        kind, direction = scene.motion.kind, scene.motion.direction
        assert (kind == "go") == (direction is not None)
        if kind == "go":
            assert (last.x - first.x) * (1 if direction == "right" else -1) > 0.25
            facing_left = scene.mover.things[0].mirrored == (scene.mover.noun in LOOKS_RIGHT)
            assert facing_left == (direction == "left")
        elif kind in ("rise", "sink"):
            assert (first.y - last.y) * (1 if kind == "rise" else -1) > 0.15 and first.x == last.x
        elif kind in ("approach", "recede"):
            assert (last.scale / first.scale) ** (1 if kind == "approach" else -1) > 2
        else:
            assert first == last


def test_all_kinds_directions_and_changes_come(scenes):
    kinds = Counter(scene.motion.kind for scene in scenes)
    assert set(kinds) == set(KINDS) and min(kinds.values()) > 0.03 * SCENES
    sides = Counter(scene.motion.direction for scene in scenes)
    assert 0.85 < sides["left"] / sides["right"] < 1.18
    assert set(CHANGES) <= {scene.motion.change for scene in scenes}


def test_things_do_what_they_can_and_are_where_they_may_be(scenes):
    for scene in scenes:
        assert ways(scene.mover.noun, scene.motion.kind), scene
        for group in scene.rest.groups:
            assert scene.rest.weather not in NOUN[group.noun].never
        if scene.motion.change:
            assert CHANGES[scene.motion.change][0] == scene.rest.weather
        assert scene.other is None or scene.other.noun != scene.mover.noun


def test_what_moves_is_seen_at_some_moment(scenes):
    for scene in scenes:
        seen = [group for k in range(8) for group in scene.at(k / 7).groups if group.noun == scene.mover.noun]
        assert len(seen) == 8 or (scene.motion.kind in ("appear", "vanish") and 2 <= len(seen) <= 6)
        assert all(0 < group.x < 1 and group.top > -0.01 and group.bottom < 1 for group in seen), scene


def test_rain_and_snow_fall_before_they_stop_and_after_they_start(scenes):
    for scene in scenes:
        falls = [scene.falls(k / 7) for k in range(8)]
        if scene.motion.change is None:
            assert all(falls)
        else:
            assert falls == sorted(falls, reverse=scene.motion.change.endswith("stops")) and 0 < sum(falls) < 8


def test_a_group_is_moved_as_a_whole():
    group = Group("dog", "brown", None, (Thing(0.4, 0.9, 0.2, False), Thing(0.6, 0.8, 0.2, True)))
    there = posed(group, Pose(0.3, 0.7, 0.5))
    assert [(t.x, t.y, t.height) for t in there.things] == [
        pytest.approx(t) for t in ((0.25, 0.7, 0.1), (0.35, 0.65, 0.1))
    ]
    assert there.x == pytest.approx(0.3) and there.bottom == pytest.approx(0.7)
    assert posed(group, Pose(group.x, group.bottom)).things[1].mirrored


def test_the_same_seed_gives_the_same_scene():
    one, other = (sample_motion_scene(np.random.default_rng(5)) for _ in range(2))
    assert one == other != sample_motion_scene(np.random.default_rng(6))


def test_verbs_are_conjugated_and_mean_one_kind():
    assert forms("fly up") == ("flies up", "fly up", "flying up")
    assert KIND_OF_FORM["flies up"] == "rise" and KIND_OF_FORM["flies"] == "go" and KIND_OF_FORM["is parked"] == "stay"
    assert not ways("house", "go") and not ways("car", "rise") and ways("balloon", "rise") == ("rise", "float up")
