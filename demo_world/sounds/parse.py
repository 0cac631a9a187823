"""What a caption says of sounds, whoever wrote it: sources, how often each, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from demo_world.sounds.captions import NUMBERS, OUTSIDE, ROOMS, TIMES
from demo_world.sounds.sources import SOURCES


@dataclass(frozen=True)
class Heard:
    """A source that a caption names.

    Attributes:
        counts: the numbers of occurrences that the words allow, or None where they say none.
        step: its place, from 0, among those that are said to follow each other, or None where no order is said.
    """

    source: str
    counts: tuple[int, ...] | None = None
    step: int | None = None


@dataclass(frozen=True)
class SoundDescription:
    """What a caption says: sources as it names them, and "indoors", "outdoors" or None."""

    heard: tuple[Heard, ...]
    where: str | None = None


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def _numbers(table: dict[int, tuple[str, ...]]) -> dict[str, tuple[int, ...]]:
    read: dict[str, tuple[int, ...]] = {}
    for number, words in table.items():
        for word in words:
            read[word] = (*read.get(word, ()), number)
    return read


_SOURCE_OF = {head: source.name for source in SOURCES for head in source.heads}
_TIMES, _NUMBERS = _numbers(TIMES), _numbers({**NUMBERS, 1: (*NUMBERS[1], "an", "one")})
_HEAD = re.compile(rf"\b(?:(?:stop|start|begin)s? )?(?P<head>{_any(_SOURCE_OF)})\b")
_UNIT = {unit: source.name for source in SOURCES if source.units for unit in source.units}
_COUNTED_UNIT = re.compile(rf"\b(?P<number>{_any(_NUMBERS)}) (?P<unit>{_any(_UNIT)})\b")
_HOW_OFTEN = re.compile(rf"\b(?:{_any(_TIMES)})\b")
_ROOM, _OUTSIDE = (re.compile(rf"\b(?:{_any(words)})\b") for words in (ROOMS, OUTSIDE))


def sounds_of(caption: str) -> SoundDescription:
    """The sounds that a caption names, each once."""
    text = " ".join(caption.lower().split())
    where = "indoors" if _ROOM.search(text) else "outdoors" if _OUTSIDE.search(text) else None
    mentions = _mentions(text)
    begins = [begin for _, begin in mentions]
    clauses = [text[begin:end] for begin, end in pairwise([*begins, len(text)])]  # each up to the next source
    heard = [Heard(name, _counts(clause, name)) for (name, _), clause in zip(mentions, clauses, strict=True)]
    return SoundDescription(tuple(_in_order(heard, clauses[:-1])), where)


def _mentions(text: str) -> list[tuple[str, int]]:
    """(source, where its words begin) in the order of the text, each source once."""
    units = list(_COUNTED_UNIT.finditer(text))
    mentions: dict[str, int] = {}
    for head in _HEAD.finditer(text):
        phrase = next((unit for unit in units if unit.start() <= head.start() < unit.end()), head)
        mentions.setdefault(_SOURCE_OF[head["head"]], phrase.start())
    return list(mentions.items())


def _counts(clause: str, name: str) -> tuple[int, ...] | None:
    unit = _COUNTED_UNIT.match(clause)
    if unit and _UNIT[unit["unit"]] == name:
        return _NUMBERS[unit["number"]]
    often = _HOW_OFTEN.search(clause)
    return _TIMES[often[0]] if often else None


def _in_order(heard: list[Heard], clauses: list[str]) -> list[Heard]:
    """The same with steps, from the words between each two that are named one after the other."""
    follows = [_follows(clause) for clause in clauses]
    if 1 in follows:  # "a, b, and then c": the comma, too, means then
        follows = [follow or (1 if "," in clause else None) for follow, clause in zip(follows, clauses, strict=True)]
    for k, follow in enumerate(follows):
        if follow == -1:
            heard[k], heard[k + 1] = replace(heard[k], step=1), replace(heard[k + 1], step=0)
        elif follow:
            first = heard[k].step or 0
            heard[k], heard[k + 1] = replace(heard[k], step=first), replace(heard[k + 1], step=first + 1)
    return heard


def _follows(clause: str) -> int | None:
    """1 where what is named next comes next, -1 where it came before, None where the words say no order."""
    if re.search(r"\b(?:then|followed by|before|after which)\b", clause):
        return 1
    if re.search(r"\bafter\b", clause):
        return -1
    return 1 if re.search(r"\b(?:stops?|ends?|dies down)\b.*\band\b", clause) else None  # "the rain stops and ..."
