"""Where scenes happen and in which weather: the words, and which go together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A backdrop. Phrases are whole, with their prepositions, so that grammar cannot go wrong.

    Attributes:
        names: nouns, so that an adjective can precede them ("a sunny {name}").
        at: where things on the ground are.
        over: where flying things are.
        across: where moving things go.
        afloat: where things on or in its water are.
        around: where things on the ground and in the water are.
        weathers: the possible ones.
    """

    name: str
    letter: str
    names: tuple[str, ...]
    at: tuple[str, ...]
    over: tuple[str, ...]
    across: tuple[str, ...] = ()
    afloat: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    weathers: tuple[str, ...] = ("clear", "sunny", "cloudy", "rainy", "night", "sunset")
    chance: float = 1.0


PLACES: tuple[Place, ...] = (
    Place(
        "beach",
        "B",
        ("beach", "sandy beach"),
        at=("on the beach", "on a beach", "on a sandy beach", "at the beach"),
        over=("over the beach", "above a beach"),
        across=("along the beach", "across the sand"),
        afloat=("at the beach", "off the beach", "near a sandy beach"),
        around=("at the beach",),
    ),
    Place(
        "forest",
        "F",
        ("forest",),
        at=("in the forest", "in a forest", "in the woods", "in a pine forest"),
        over=("over the forest", "above the woods"),
        across=("through the forest", "through the woods"),
    ),
    Place(
        "city",
        "C",
        ("city street", "street"),
        at=("on a city street", "on the street", "in the city", "on a street"),
        over=("over the city", "above a city street"),
        across=("down a city street", "through the city"),
    ),
    Place(
        "desert",
        "D",
        ("desert",),
        at=("in the desert", "in a desert", "on the desert sand"),
        over=("over the desert", "above the desert"),
        across=("across the desert", "through a desert"),
        weathers=("clear", "sunny", "cloudy", "night", "sunset"),
    ),
    Place(
        "snow",
        "S",
        ("snowy field",),
        at=("in the snow", "in a snowy field", "on a snowy field", "on the snow"),
        over=("over a snowy field", "above the snow"),
        across=("through the snow", "across a snowy field"),
        weathers=("clear", "sunny", "cloudy", "snowing", "night", "sunset"),
    ),
    Place(
        "meadow",
        "M",
        ("meadow", "flowery meadow"),
        at=("in a meadow", "in a flowery meadow", "on the grass", "in the meadow", "in a grassy field"),
        over=("over a meadow", "above a grassy field"),
        across=("across a meadow", "through a grassy field"),
    ),
    Place(
        "lake",
        "L",
        ("lake",),
        at=("by a lake", "beside a lake", "near the lake", "on the shore of a lake"),
        over=("over a lake", "above the lake"),
        across=("along a lake", "along the shore of a lake"),
        afloat=("on a lake", "on the lake", "on a calm lake"),
        around=("at the lake", "at a lake"),
    ),
    Place(
        "underwater",
        "U",
        ("ocean",),
        over=(),
        weathers=("clear",),
        chance=0.7,
        at=("at the bottom of the sea", "under the sea", "on the ocean floor"),
        afloat=("under the sea", "underwater", "in the ocean", "in the blue ocean"),
        around=("under the sea", "underwater", "in the ocean"),
    ),
    Place(
        "farm",
        "A",
        ("farm",),
        at=("on a farm", "on the farm", "by a red barn", "near a red barn"),
        over=("over a farm", "above a red barn"),
        across=("across a farm", "past a red barn"),
    ),
    Place(
        "mountains",
        "R",
        ("mountain valley",),
        at=("in the mountains", "in a mountain valley", "near the mountains"),
        over=("over the mountains", "above the mountains"),
        across=("through the mountains", "through a mountain valley"),
        weathers=("clear", "sunny", "cloudy", "rainy", "snowing", "night", "sunset"),
    ),
)
PLACE: dict[str, Place] = {place.name: place for place in PLACES}


@dataclass(frozen=True)
class Weather:
    """`phrases` follow a place; `adjective` precedes its name; `after` follows the name where no adjective fits."""

    name: str
    chance: float
    phrases: tuple[str, ...] = ()
    adjective: str = ""
    after: str = ""


WEATHERS: tuple[Weather, ...] = (
    Weather("clear", 0.24),
    Weather("sunny", 0.17, ("on a sunny day", "in the sunshine", "under a bright sun"), adjective="sunny"),
    Weather("cloudy", 0.13, ("on a cloudy day", "under a cloudy sky", "under grey clouds"), adjective="cloudy"),
    Weather("rainy", 0.14, ("in the rain", "on a rainy day", "while it rains"), adjective="rainy"),
    Weather("snowing", 0.12, ("while it snows", "in falling snow", "as snow falls"), after="in falling snow"),
    Weather("night", 0.17, ("at night", "under the stars", "in the moonlight"), adjective="dark", after="at night"),
    Weather("sunset", 0.14, ("at sunset", "under an orange sky", "in the evening"), after="at sunset"),
)
WEATHER: dict[str, Weather] = {weather.name: weather for weather in WEATHERS}
