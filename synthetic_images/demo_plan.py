"""From what a caption of the demo world says to a scene: what it leaves open is drawn as the world draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from demo_world.captions import ABOVE, COUNTS, HALVES, LEFT_OF
from demo_world.lexicon import NOUN, Noun
from demo_world.parse import Description, Mention, Relation
from demo_world.places import PLACES, WEATHER
from demo_world.scene import (
    BACKDROPS,
    COUNT_CHANCES,
    Group,
    Scene,
    choose,
    in_the_sky,
    lay_out,
    sample_color,
    sample_sizes,
)

TRIES = 200  # layouts that are drawn until the caption's relations hold


@dataclass
class Item:
    """A kind of thing that is to be painted."""

    noun: Noun
    count: int
    color: str | None
    size: str | None = None
    mentioned: bool = True  # by the caption


@dataclass
class Plan:
    """All that a picture will show, but not yet where. Defects change it before it is laid out."""

    place: str
    weather: str
    backdrop: int
    items: list[Item]
    relations: tuple[Relation, ...] = field(default=())

    @property
    def flying(self) -> Item | None:
        return next((item for item in self.items if item.noun.zone == "sky"), None)


def make_plan(description: Description, rng: np.random.Generator) -> Plan:
    """Settle what the description leaves open.

    Raises:
        ValueError: no place of the world has all that is described, or there are two kinds of flying things.
    """
    place, weather = _setting(description, rng)
    items = [_item(mention, rng) for mention in description.mentions]
    if sum(item.noun.zone == "sky" for item in items) > 1:
        raise ValueError("a scene of the demo world has one kind of flying things at most")
    standing = [item for item in items if item.noun.zone != "sky"]
    if standing and not any(item.size for item in standing):
        for item, size in zip(standing, sample_sizes(rng, [(item.noun, item.count) for item in standing]), strict=True):
            item.size = size
    return Plan(place, weather, int(rng.integers(BACKDROPS)), items, description.relations)


def lay_out_plan(plan: Plan, rng: np.random.Generator) -> tuple[Scene, list[Group]]:
    """A scene of the plan and the group of each of its items. Relations of the plan hold wherever there is room."""
    for _ in range(TRIES):
        groups = _groups(plan, rng)
        if all(_holds(relation, groups) for relation in plan.relations):
            break
    flying = [group for item, group in zip(plan.items, groups, strict=True) if item.noun.zone == "sky"]
    standing = [group for item, group in zip(plan.items, groups, strict=True) if item.noun.zone != "sky"]
    return Scene(plan.place, plan.weather, plan.backdrop, (*standing, *flying)), groups


def _setting(description: Description, rng: np.random.Generator) -> tuple[str, str]:
    """A place and a weather that suit what is described, as likely as they are in the world."""
    nouns = [NOUN[mention.noun] for mention in description.mentions]
    possible, chances = [], []
    for place in PLACES:
        if description.place not in (None, place.name) or any(place.letter not in noun.places for noun in nouns):
            continue
        of_weathers = [WEATHER[name].chance for name in place.weathers]
        for name, chance in zip(place.weathers, of_weathers, strict=True):
            if description.weather in (None, name) and not any(name in noun.never for noun in nouns):
                possible.append((place.name, name))
                chances.append(place.chance * chance / sum(of_weathers))
    if not possible:
        raise ValueError("no place of the demo world has all of it")
    return choose(rng, possible, chances)


def _item(mention: Mention, rng: np.random.Generator) -> Item:
    noun = NOUN[mention.noun]
    said = [dict(COUNTS[count])["a group of"] if len(mention.counts) > 1 else 1.0 for count in mention.counts]
    chances = [COUNT_CHANCES[count - 1] * chance for count, chance in zip(mention.counts, said, strict=True)]
    return Item(noun, choose(rng, mention.counts, chances), mention.color or sample_color(rng, noun), mention.size)


def _groups(plan: Plan, rng: np.random.Generator) -> list[Group]:
    """A group for each item."""
    numbers = [number for number, item in enumerate(plan.items) if item.noun.zone != "sky"]
    standing = [plan.items[number] for number in numbers]
    groups: dict[int, Group] = {}
    if standing:
        laid = lay_out(
            rng,
            [(item.noun, item.count) for item in standing],
            [item.size for item in standing],
            [item.color for item in standing],
            [numbers.index(number) for number in _order(plan, numbers, rng)],
        )
        groups |= zip(numbers, laid, strict=True)
    for number, item in enumerate(plan.items):
        if number not in groups:
            groups[number] = in_the_sky(rng, item.noun, item.count, plan.weather, plan.backdrop, item.color)
    return [groups[number] for number in range(len(plan.items))]


def _order(plan: Plan, numbers: Sequence[int], rng: np.random.Generator) -> list[int]:
    """The standing items from left to right: as relations want them, and others on the outside."""
    mentioned = [number for number in numbers if plan.items[number].mentioned]
    order = [mentioned[place] for place in rng.permutation(len(mentioned))]
    for relation in plan.relations:
        pair = [relation.subject, relation.other]
        if relation.kind in ("left of", "right of") and all(number in numbers for number in pair):
            order = pair if relation.kind == "left of" else pair[::-1]
    for number in numbers:
        if number not in order:
            order.insert(len(order) if rng.random() < 0.5 else 0, number)
    return order


def _holds(relation: Relation, groups: Sequence[Group]) -> bool:
    """Whether the laid-out groups are as `captions.py` wants them before it names the relation."""
    subject, other = groups[relation.subject], groups[relation.other]
    if relation.kind in ("left of", "right of"):
        left, right = (subject, other) if relation.kind == "left of" else (other, subject)
        return right.x - left.x >= LEFT_OF and (not relation.halves or (left.x < HALVES[0] and right.x > HALVES[1]))
    if relation.kind == "above":
        return abs(subject.x - other.x) <= ABOVE and subject.bottom <= other.top
    return True  # things that are beside each other are mentioned alone, and extra ones come on the outside
