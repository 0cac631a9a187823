"""A scene that moves: a scene at rest, what its first group does, and what the weather does; not yet drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from demo_world.lexicon import NOUN, NOUNS, Noun
from demo_world.motion.verbs import CHANGES, DIRECTIONS, GAITS, KINDS, LOOKS_RIGHT, ways
from demo_world.places import PLACES, WEATHER
from demo_world.scene import (
    BACKDROPS,
    COUNT_CHANCES,
    LEAST_SCALE,
    Group,
    Scene,
    Thing,
    choose,
    draw_noun,
    in_the_sky,
    lay_out,
    possible_nouns,
    squeeze,
)

CHANGE_CHANCE = 0.65  # that rain or snow starts or stops, where it falls at some time
FALLING = 2.0  # how much likelier rain and snow are than in pictures
OTHER_CHANCE = 0.6  # that something stays in the scene, beside what moves
NEAR, FAR = 1.35, 0.5  # sizes of what comes closer or goes away, in those at rest
FALL = ("rainy", "snowing")
FEET = {"ground": (0.7, 0.95), "water": (0.56, 0.68)}  # of what is far away and near


@dataclass(frozen=True)
class Motion:
    """What happens. `None` where a caption does not say it.

    Attributes:
        kind: one of `verbs.KINDS`.
        direction: "left" or "right" where kind is "go", else None.
        change: one of `verbs.CHANGES`, or None.
    """

    kind: str | None
    direction: str | None = None
    change: str | None = None


@dataclass(frozen=True)
class Pose:
    """Where the group that moves is: x of its center and y of its feet as fractions of the picture, and its size."""

    x: float
    y: float
    scale: float = 1.0


@dataclass(frozen=True)
class MotionScene:
    """groups[0] of `rest` is what moves; another group, if there is one, stays where it is.

    Attributes:
        rest: place, weather and groups; where it starts or stops to rain or snow, its weather is that one.
        start, end: poses of what moves at the first and at the last moment.
        turn: when things appear or vanish and the weather changes: 0 is the first moment, 1 the last.
    """

    rest: Scene
    motion: Motion
    start: Pose
    end: Pose
    turn: float

    @property
    def mover(self) -> Group:
        return self.rest.groups[0]

    @property
    def other(self) -> Group | None:
        return self.rest.groups[1] if len(self.rest.groups) > 1 else None

    def at(self, moment: float) -> Scene:
        """The scene at a moment from 0 to 1."""
        pose = _between(self.start, self.end, moment)
        gone = {"appear": moment < self.turn, "vanish": moment >= self.turn}.get(self.motion.kind or "", False)
        return replace(self.rest, groups=(*(() if gone else (posed(self.mover, pose),)), *self.rest.groups[1:]))

    def falls(self, moment: float) -> bool:
        """Whether the rain or snow of its weather falls at a moment."""
        return self.motion.change is None or (moment < self.turn) == CHANGES[self.motion.change][1]


def _between(start: Pose, end: Pose, moment: float) -> Pose:
    return Pose(
        *(a + (b - a) * moment for a, b in ((start.x, end.x), (start.y, end.y), (start.scale, end.scale))),
    )


def posed(group: Group, pose: Pose) -> Group:
    """The group, moved and resized as a whole."""
    x, y, scale = group.x, group.bottom, pose.scale
    things = tuple(
        Thing(pose.x + (t.x - x) * scale, pose.y + (t.y - y) * scale, t.height * scale, t.mirrored)
        for t in group.things
    )
    return replace(group, things=things)


_STAYS = frozenset(
    noun.name
    for noun in NOUNS
    if noun.zone in ("ground", "water") and (ways(noun.name, "stay") or noun.name not in GAITS)
)


def sample_motion_scene(rng: np.random.Generator) -> MotionScene:
    """Draw a scene that moves; the same generator state gives the same scene."""
    place = choose(rng, PLACES, [p.chance for p in PLACES])
    weather = choose(rng, place.weathers, [WEATHER[w].chance * (FALLING if w in FALL else 1.0) for w in place.weathers])
    changes = [change for change, what in CHANGES.items() if what[0] == weather]
    change = changes[int(rng.integers(2))] if changes and rng.random() < CHANGE_CHANCE else None
    below, above = (possible_nouns(place.name, weather, sky) for sky in (False, True))
    able = {kind: [(noun, weight) for noun, weight in (*below, *above) if ways(noun.name, kind)] for kind in KINDS}
    kinds = [kind for kind in KINDS if able[kind]]
    kind = choose(rng, kinds, [KINDS[kind] for kind in kinds])
    noun = draw_noun(rng, able[kind], ())
    direction = DIRECTIONS[int(rng.integers(2))] if kind == "go" else None
    others = [(other, weight) for other, weight in below if other.name in _STAYS and other is not noun]
    other = draw_noun(rng, others, ()) if others and rng.random() < OTHER_CHANCE else None
    backdrop = int(rng.integers(BACKDROPS))
    groups = _groups(rng, noun, other, weather, backdrop)
    if direction is not None:
        groups[0] = _facing(groups[0], direction)
    rest = Scene(place.name, weather, backdrop, tuple(groups))
    start, end = _poses(rng, groups[0], kind, direction)
    return MotionScene(rest, Motion(kind, direction, change), start, end, turn=0.35 + 0.3 * rng.random())


def _groups(rng: np.random.Generator, noun: Noun, other: Noun | None, weather: str, backdrop: int) -> list[Group]:
    """What moves and, if it fits beside it, another thing."""
    if noun.zone == "sky":
        mover = in_the_sky(rng, noun, choose(rng, (1, 2), (0.85, 0.15)), weather, backdrop)
        return [mover, *(lay_out(rng, [(other, 1)], [None]) if other else [])]
    count = min(choose(rng, (1, 2, 3, 4), COUNT_CHANCES), noun.most)
    kinds = [(noun, count), *([(other, 1)] if other else [])]
    if squeeze(kinds) < LEAST_SCALE:
        kinds.pop()
    return lay_out(rng, kinds, [None] * len(kinds))


def _facing(group: Group, direction: str) -> Group:
    mirrored = (group.noun in LOOKS_RIGHT) != (direction == "right")
    return replace(group, things=tuple(replace(thing, mirrored=mirrored) for thing in group.things))


def _extent(group: Group) -> tuple[float, float]:
    """Width and height of a group."""
    aspect = NOUN[group.noun].aspect
    left = min(thing.x - aspect * thing.height / 2 for thing in group.things)
    right = max(thing.x + aspect * thing.height / 2 for thing in group.things)
    return right - left, group.bottom - group.top


def _poses(rng: np.random.Generator, group: Group, kind: str, direction: str | None) -> tuple[Pose, Pose]:
    """The first and the last pose of a group that does a kind of motion."""
    width, height = _extent(group)
    here, zone = Pose(group.x, group.bottom), NOUN[group.noun].zone
    if kind == "go":
        edge = min(0.3, max(0.1, 0.3 * width))
        way = (1 - 2 * edge) * (0.7 + 0.3 * rng.random())
        left = edge + (1 - 2 * edge - way) * rng.random()
        poses = Pose(left, here.y), Pose(left + way, here.y)
        return poses if direction == "right" else (poses[1], poses[0])
    if kind in ("rise", "sink"):
        high = height + 0.03 + 0.05 * rng.random()
        low = max((0.72 if zone == "sky" else 0.86) + 0.08 * rng.random(), high + 0.2)
        poses = Pose(here.x, low), Pose(here.x, high)
        return poses if kind == "rise" else (poses[1], poses[0])
    if kind in ("approach", "recede"):
        near = min(NEAR, 0.92 / width, 0.8 / height)
        far = FAR * near / NEAR
        feet = FEET.get(zone) or (height * far + 0.1, height * near + 0.05)
        poses = Pose(here.x, feet[0], far), Pose(0.5 + (here.x - 0.5) * 0.6, feet[1], near)
        return poses if kind == "approach" else (poses[1], poses[0])
    return here, here
