"""Reading a caption of the demo world back: what it says about place, weather, things, and where they are.

The inverse of `captions.py`. Verbs are understood but not returned: a sprite has one pose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from demo_world.captions import COUNTS, OPENINGS, SHINES, SIZES
from demo_world.lexicon import COLORS, NOUNS, VERBS
from demo_world.places import PLACES, WEATHERS


@dataclass(frozen=True)
class Mention:
    """A noun phrase, such as "a group of small red cars".

    Attributes:
        noun: the name in the lexicon, whatever synonym or plural is said.
        counts: the numbers that the words allow: "a group of" is three or four.
        color, size: None where the caption does not say them.
    """

    noun: str
    counts: tuple[int, ...]
    color: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Relation:
    """Mention `subject` is "left of", "right of", "beside" or "above" mention `other`.

    Attributes:
        halves: they are on the two sides of the picture, "on the left" and "on the right".
    """

    kind: str
    subject: int
    other: int
    halves: bool = False


@dataclass(frozen=True)
class Description:
    """What a caption says; None where it says nothing."""

    place: str | None
    weather: str | None
    mentions: tuple[Mention, ...]
    relations: tuple[Relation, ...] = ()


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_COUNT_WORDS: dict[str, tuple[int, ...]] = {"a": (1,), "an": (1,)}
for _count, _words in COUNTS.items():
    for _word, _ in _words:
        _COUNT_WORDS[_word] = (*_COUNT_WORDS.get(_word, ()), _count)
_SIZE_WORDS = {word: size for size, words in SIZES.items() for word in words}
_FORMS = {form: noun.name for noun in NOUNS for forms in ((noun.name, noun.plural), *noun.synonyms) for form in forms}
_PLACES = {
    phrase: place.name
    for place in PLACES
    for phrase in (*place.at, *place.over, *place.across, *place.afloat, *place.around)
}
_NAMES = {name: place.name for place in PLACES for name in place.names}
_WEATHERS = {phrase: weather.name for weather in WEATHERS for phrase in weather.phrases}
_WEATHERS |= {phrase: weather for weather, phrases in SHINES.items() for phrase in phrases}
_ADJECTIVES = {weather.adjective: weather.name for weather in WEATHERS if weather.adjective}
_AFTER = {weather.after: weather.name for weather in WEATHERS if weather.after}

_SCENERY = re.compile(  # "a sunny beach with ..."
    rf"an? (?:(?P<adjective>{_any(_ADJECTIVES)}|blue) )?(?P<name>{_any(_NAMES)})(?: (?P<after>{_any(_AFTER)}))? with "
)
_OPENING = re.compile(rf"(?:{_any(OPENINGS)}|there is|there are) ")
_PHRASE = re.compile(
    rf"\b(?:(?P<count>{_any(_COUNT_WORDS)}) (?:(?P<size>{_any(_SIZE_WORDS)}) )?(?:(?P<color>{_any(COLORS)}) )?"
    rf"(?P<noun>{_any(_FORMS)})|(?P<place>{_any(_PLACES)})(?! umbrella)|(?P<weather>{_any(_WEATHERS)}))\b"
)
_VERB_FORMS = _any(form for forms in VERBS.values() for form in forms)
_SIDES = {"left": "left of", "right": "right of"}
# What is left of a caption, with # for each noun phrase.
_SIDE = re.compile(r"# (?:to|on) the (left|right) of #")
_HALVES = re.compile(r"# on the (left|right) and # on the (?!\1)(?:left|right)")
_BESIDE = re.compile(rf"#(?: (?:{_VERB_FORMS}))? (?:next to|beside|near) #")
_ABOVE = re.compile(rf"#(?: (?:{_VERB_FORMS}))? (?:above|over) #")
_PLAIN = re.compile(
    rf"#(?: (?:{_VERB_FORMS}))?|# and #(?: with # overhead)?|#, # and #|# with # (?:in the sky|overhead)"
)


def parse_caption(caption: str) -> Description:
    """What a caption of the demo world says.

    Raises:
        ValueError: the caption is none that the demo world's grammar writes.
    """
    said: dict[str, str] = {}
    mentions: list[Mention] = []
    text = caption
    if scenery := _SCENERY.match(text):
        said["place"] = _NAMES[scenery["name"]]
        weather = _ADJECTIVES.get(scenery["adjective"]) or _AFTER.get(scenery["after"])
        said |= {"weather": weather} if weather else {}
        text = text[scenery.end() :]
    elif opening := _OPENING.match(text):
        text = text[opening.end() :]

    def keep(phrase: re.Match[str]) -> str:
        if phrase["noun"]:
            counts, size = _COUNT_WORDS[phrase["count"]], _SIZE_WORDS.get(phrase["size"])
            mentions.append(Mention(_FORMS[phrase["noun"]], counts, phrase["color"], size))
            return "#"
        kind, meaning = ("place", _PLACES) if phrase["place"] else ("weather", _WEATHERS)
        if kind in said:
            raise _unknown(caption)
        said[kind] = meaning[phrase[kind]]
        return ""

    rest = " ".join(_PHRASE.sub(keep, text).split())
    relations = tuple(_relations(rest))
    if not mentions or not (relations or _PLAIN.fullmatch(rest)):
        raise _unknown(caption)
    return Description(said.get("place"), said.get("weather"), tuple(mentions), relations)


def _relations(rest: str) -> Iterator[Relation]:
    if side := _SIDE.fullmatch(rest) or _HALVES.fullmatch(rest):
        yield Relation(_SIDES[side[1]], 0, 1, halves=side.re is _HALVES)
    elif _BESIDE.fullmatch(rest):
        yield Relation("beside", 0, 1)
    elif _ABOVE.fullmatch(rest):
        yield Relation("above", 0, 1)


def _unknown(caption: str) -> ValueError:
    return ValueError(f"{caption!r} is no caption that the demo world writes")
