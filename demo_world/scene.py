"""A scene: a place, its weather and a few groups of things, each with a position; sampled, not yet drawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from demo_world.lexicon import NOUN, NOUNS, PEOPLE, Noun
from demo_world.places import PLACES, WEATHER, Place

BACKDROPS = 16  # painted variants of every place and weather
REFERENCE = 96.0  # pixels; noun heights refer to a picture of this size
GAP, MOST_GAP = 4.0, 14.0  # reference pixels between groups: at least, and at most more
SPREAD = {1: 1.0, 2: 1.6, 3: 1.8, 4: 1.8}  # width of a block of so many, in widths of one
NARROW = 0.75  # things of a smaller aspect stand in one row, however many
COUNT_CHANCES = (0.66, 0.19, 0.1, 0.05)  # of 1, 2, 3 and 4 things of the most salient kind
LEAST_SCALE = 0.68  # a scene that would have to shrink further loses a group
LEAST_SHRUNK = 24  # pixels: lower things would not be recognized if they were small
BIG, SMALL = 1.35, 0.66  # factors on a noun's height that captions may call big and small


T = TypeVar("T")
Kinds = Sequence[tuple[Noun, int]]  # what each group is of, and how many
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """One sprite: x of its center, y of its feet (0 is the top) and its height, as fractions of the picture."""

    x: float
    y: float
    height: float
    mirrored: bool


@dataclass(frozen=True)
class Group:
    """Things of one kind, color and size, side by side. `color` is None where the noun has no color to name."""

    noun: str
    color: str | None
    size: str | None  # "big", "small" or None
    things: tuple[Thing, ...]

    @property
    def count(self) -> int:
        return len(self.things)

    @property
    def x(self) -> float:
        return sum(thing.x for thing in self.things) / len(self.things)

    @property
    def top(self) -> float:
        return min(thing.y - thing.height for thing in self.things)

    @property
    def bottom(self) -> float:
        return max(thing.y for thing in self.things)

    def box(self, thing: Thing) -> Box:
        """What one of its things covers: left, top, right, bottom as fractions of the picture, inside it."""
        half = NOUN[self.noun].aspect * thing.height / 2
        return (
            max(thing.x - half, 0.0), max(thing.y - thing.height, 0.0), min(thing.x + half, 1.0), min(thing.y, 1.0)
        )  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """groups[0] is the most salient; at most one group, the last, is in the sky."""

    place: str
    weather: str
    backdrop: int
    groups: tuple[Group, ...]

    @property
    def standing(self) -> tuple[Group, ...]:
        """The groups that are not in the sky."""
        return tuple(group for group in self.groups if NOUN[group.noun].zone != "sky")

    @property
    def flying(self) -> Group | None:
        return next((group for group in self.groups if NOUN[group.noun].zone == "sky"), None)


def choose(rng: np.random.Generator, options: Sequence[T], weights: Sequence[float] | np.ndarray) -> T:
    """One of the options, each as likely as its weight says."""
    weights = np.asarray(weights, dtype=float)
    return options[int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(), side="right"))]


def _candidates(place: Place, sky: bool) -> list[Noun]:
    return [noun for noun in NOUNS if place.letter in noun.places and (noun.zone == "sky") == sky]


# Rare nouns are drawn more often where they can be, so that every noun is about as common in the world.
_NOUNS = {
    (p.name, sky): [(n, len(n.places) ** -0.7) for n in _candidates(p, sky)] for p in PLACES for sky in (False, True)
}


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene; the same generator state gives the same scene."""
    place = choose(rng, PLACES, [p.chance for p in PLACES])
    weather = choose(rng, place.weathers, [WEATHER[w].chance for w in place.weathers])
    below = possible_nouns(place.name, weather, sky=False)
    first = draw_noun(rng, below, ())
    count = min(choose(rng, (1, 2, 3, 4), COUNT_CHANCES), first.most)
    kinds = [(first, count)]
    if rng.random() < 0.9:
        second = draw_noun(rng, below, (first,))
        kinds.append((second, 2 if count <= 2 and second.most > 1 and rng.random() < 0.14 else 1))
        if count == 1 and rng.random() < 0.1:
            kinds.append((draw_noun(rng, below, (first, second)), 1))
    while len(kinds) > 1 and squeeze(kinds) < LEAST_SCALE:
        kinds.pop()
    sky = possible_nouns(place.name, weather, sky=True)
    above = None
    if sky and rng.random() < (0.33 if len(kinds) > 1 else 0.75):
        above = (draw_noun(rng, sky, ()), choose(rng, (1, 2), (0.85, 0.15)))
    backdrop = int(rng.integers(BACKDROPS))
    groups = lay_out(rng, kinds, sample_sizes(rng, kinds))
    if above is not None:
        groups.append(in_the_sky(rng, *above, weather, backdrop))
    return Scene(place.name, weather, backdrop, tuple(groups))


def possible_nouns(place: str, weather: str, sky: bool) -> list[tuple[Noun, float]]:
    """What may be in the place and weather, in its sky or elsewhere, and how likely each is, up to a factor."""
    return [(noun, chance) for noun, chance in _NOUNS[place, sky] if weather not in noun.never]


def draw_noun(rng: np.random.Generator, weighted: Sequence[tuple[Noun, float]], taken: Collection[Noun]) -> Noun:
    """One of the weighted nouns that are not taken."""
    left = [(noun, weight) for noun, weight in weighted if noun not in taken]
    return choose(rng, [noun for noun, _ in left], [weight for _, weight in left])


def sample_color(rng: np.random.Generator, noun: Noun) -> str | None:
    """One of the noun's colors, if it has any."""
    return noun.colors[int(rng.integers(len(noun.colors)))] if noun.colors else None


def _widths(kinds: Kinds, heights: Sequence[float]) -> list[float]:
    """The widths of the groups' blocks, in reference pixels."""
    return [
        noun.aspect * height * (SPREAD[count] if noun.aspect >= NARROW else 1.15 * count - 0.15)
        for (noun, count), height in zip(kinds, heights, strict=True)
    ]


def squeeze(kinds: Kinds, heights: Sequence[float] | None = None) -> float:
    """The factor, at most 1, by which everything must shrink to stand side by side; of nominal heights by default."""
    heights = [noun.height for noun, _ in kinds] if heights is None else heights
    return min(1.0, (REFERENCE - 4 - GAP * (len(kinds) - 1)) / sum(_widths(kinds, heights)))


def sample_sizes(rng: np.random.Generator, kinds: Kinds) -> list[str | None]:
    """Which of the groups are big or small: at most the first, where there are no more than two single things."""
    singles = all(count == 1 for _, count in kinds) and len(kinds) <= 2
    sizes: list[str | None] = [None] * len(kinds)
    if singles and kinds[0][0].name not in PEOPLE and rng.random() < 0.3:
        sizes[0] = "big" if rng.random() < 0.5 or kinds[0][0].height < LEAST_SHRUNK else "small"
    return sizes


def lay_out(
    rng: np.random.Generator,
    kinds: Kinds,
    sizes: Sequence[str | None],
    colors: Sequence[str | None] | None = None,
    order: Sequence[int] | None = None,
) -> list[Group]:
    """Stand the groups side by side, each in a block of its own, scaled so that everything fits.

    Args:
        kinds: what each group is of, and how many; not in the sky.
        sizes: "big", "small" or None for each group. Where all must shrink, big ones are no longer called big.
        colors: of each group; None is drawn.
        order: the groups from left to right; drawn by default.
    """
    factor = {None: 1.0, "big": BIG, "small": SMALL}
    heights = [
        noun.height * factor[size] * (1.15 if len(kinds) == 1 and count == 1 and size is None else 1.0)
        for (noun, count), size in zip(kinds, sizes, strict=True)
    ]
    scale = squeeze(kinds, heights)
    if scale < 0.92:
        sizes = [None if size == "big" else size for size in sizes]
    heights = [height * scale for height in heights]
    widths = _widths(kinds, heights)
    order = list(rng.permutation(len(kinds))) if order is None else order
    slack = max(0.0, REFERENCE - 4 - sum(widths) - GAP * (len(kinds) - 1))
    gaps = min(MOST_GAP, slack / len(kinds)) * rng.random(len(kinds) - 1)  # near enough to be "next to" each other
    cursor, groups = 2.0 + (slack - sum(gaps)) * rng.random(), {}
    for position, gap in zip(order, [*gaps, 0.0], strict=True):
        noun, count = kinds[position]
        things = _block(rng, noun, count, cursor, widths[position], heights[position])
        color = (colors[position] if colors else None) or sample_color(rng, noun)
        groups[position] = Group(noun.name, color, sizes[position], things)
        cursor += widths[position] + GAP + gap
    return [groups[position] for position in range(len(kinds))]


def _block(rng, noun: Noun, count: int, left: float, width: float, height: float) -> tuple[Thing, ...]:
    wide = noun.aspect * height
    depth = 13.0 if noun.zone == "water" else min(max(height * 0.8, 15.0), 24.0)
    if count == 1:
        spots = [(left + wide / 2, 0.0)]
    elif noun.aspect < NARROW:
        spots = [(left + wide * (0.5 + 1.15 * k), -5.0 * (k % 2)) for k in range(count)]
    elif count == 2:  # one a little behind the other
        back = int(rng.integers(2))
        spots = [(left + wide / 2, -0.45 * depth * (back == 0)), (left + width - wide / 2, -0.45 * depth * (back == 1))]
    else:  # a row behind and a row before it
        columns = (left + wide / 2, left + width - wide / 2)
        spots = [(columns[0], -depth), (columns[1], -depth)]
        spots += [(left + width / 2, 0.0)] if count == 3 else [(columns[0], 0.0), (columns[1], 0.0)]
    feet = {"ground": (80.0, 91.0), "water": (58.0, 66.0), "deep": (46.0, 84.0)}[noun.zone]
    if count > 2:
        feet = (max(feet[0], feet[1] - 3.0), feet[1])
    base = max(feet[0] + (feet[1] - feet[0]) * rng.random(), height + (3.0 if count <= 2 else 20.0))
    mirrored = bool(rng.random() < 0.5)
    return tuple(
        Thing(x / REFERENCE, min(base + dy + 2.0 * rng.random(), 94.0) / REFERENCE, height / REFERENCE, mirrored)
        for x, dy in spots
    )


def in_the_sky(
    rng: np.random.Generator, noun: Noun, count: int, weather: str, backdrop: int, color: str | None = None
) -> Group:
    """Flying things side by side, away from the sun or the moon that the backdrop has; a color of None is drawn."""
    left, right = (2.0, 94.0)  # reference pixels
    if weather in ("sunny", "night"):  # backdrops.py paints the sun and the moon on one side: leave them uncovered
        left, right = (2.0, 70.0) if backdrop % 2 else (26.0, 94.0)
    widths = 1.1 * count - 0.1  # of the whole group, in widths of one
    height = min(float(noun.height), (right - left) / (noun.aspect * widths))
    wide = noun.aspect * height
    left += (right - left - wide * widths) * rng.random()
    feet = height + 2 + 5 * rng.random()
    drops = [3 * rng.random()]
    mirrored = bool(rng.random() < 0.5)
    drops += [3 * rng.random() for _ in range(count - 1)]
    things = tuple(
        Thing((left + wide * (0.5 + 1.1 * k)) / REFERENCE, (feet + drop) / REFERENCE, height / REFERENCE, mirrored)
        for k, drop in enumerate(drops)
    )
    return Group(noun.name, color or sample_color(rng, noun), None, things)
