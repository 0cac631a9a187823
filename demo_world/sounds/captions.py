"""Captions of a scene that sounds: what is heard, how often and in which order, and nothing untrue.

People do not say everything: captions name 94% of the sources, 84% of those of scenes with an order say it, and 65% of
the sources that are heard several times come with a number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demo_world.captions import CAPTIONS
from demo_world.sounds.scene import Part, SoundScene
from demo_world.sounds.sources import SOURCE

COUNT_CHANCE, ONCE_CHANCE = 0.6, 0.12  # that a caption says a number, where it is above one, and where it is one
UNIT_CHANCE = 0.5  # that a noun phrase is of occurrences, "two knocks", where there is a word for one
MANNER_CHANCE = 0.25  # that a caption says how loud something is, if it is
LOUD, SOFT = 1.5, -4.0  # decibels, at least and at most, of what is called so
LOUDLY, SOFTLY = ("loudly",), ("softly", "quietly")
TIMES: dict[int, tuple[str, ...]] = {
    1: ("once",),
    2: ("twice", "two times"),
    3: ("three times", "several times", "repeatedly"),
    4: ("four times", "several times", "repeatedly"),
}
NUMBERS = {1: ("a", "a single"), 2: ("two",), 3: ("three", "several"), 4: ("four", "several")}
OPENINGS = ("the sound of", "a recording of", "sounds of")
THEN = (", then", " and then", ", and then", ", after which")
BEHIND = ("in the background", "nearby")
ROOMS = ("indoors", "in a large room", "in a hall", "inside a building")
OUTSIDE = ("outdoors", "outside")
OUTSIDE_CHANCE = 0.04


class SoundWriter:
    """Says things about one scene."""

    def __init__(self, scene: SoundScene, rng: np.random.Generator):
        self.scene, self.rng = scene, rng

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def times(self, part: Part) -> str:
        """How often, with a blank before it, or nothing."""
        if part.count is None or not self.chance(ONCE_CHANCE if part.count == 1 else COUNT_CHANCE):
            return ""
        return f" {self.pick(TIMES[part.count])}"

    def manner(self, part: Part) -> str:
        """How loud, with a blank before it, or nothing."""
        words = LOUDLY if part.level >= LOUD else SOFTLY if part.level <= SOFT else ()
        told = part is not self.scene.background and words and self.chance(MANNER_CHANCE)
        return f" {self.pick(words)}" if told else ""

    def clause(self, part: Part) -> str:
        """What it does: "a bell rings twice"."""
        subject, does, _ = self.pick(SOURCE[part.source].sayings)
        return f"{subject} {does}{self.manner(part)}{self.times(part)}"

    def noun(self, part: Part) -> str:
        """What it is: "a bell ringing", "two knocks", "falling rain"."""
        source = SOURCE[part.source]
        if source.units and part.count and self.chance(UNIT_CHANCE):
            number = self.pick(NUMBERS[part.count])
            unit = source.units[0 if part.count == 1 else 1]
            return f"{'an' if number == 'a' and unit[0] in 'aeiou' else number} {unit}"
        if source.nouns and self.chance(0.6):
            return self.pick(source.nouns)
        subject, _, doing = self.pick([saying for saying in source.sayings if saying[0] != "it"])
        return f"{subject} {doing}{self.manner(part)}{self.times(part)}"

    def begins(self, part: Part) -> str:
        """That it comes: "rain begins to fall" of what goes on, else a clause."""
        if part.count is not None or self.chance(0.4):
            return self.clause(part)
        return self._turn(part, SOURCE[part.source].begins, ("start", "begin"))

    def ends(self, part: Part) -> str:
        """That it is over: "the rain stops" of what goes on, else a clause."""
        if part.count is not None or self.chance(0.6):
            return self.clause(part)
        return self._turn(part, SOURCE[part.source].ends, ("stop",))

    def _turn(self, part: Part, clauses: tuple[str, ...], verbs: tuple[str, ...]) -> str:
        if clauses and self.chance(0.6):
            return self.pick(clauses)
        subject, does, doing = self.pick(SOURCE[part.source].sayings)
        singular = does.split()[0].endswith("s")
        return f"{subject} {self.pick(verbs)}{'s' if singular else ''} {doing}"

    def where(self) -> str:
        """Indoors or outdoors, with a blank before it, or nothing."""
        if self.scene.indoors:
            return f" {self.pick(ROOMS)}" if self.chance(0.45) else ""
        outside = not any(SOURCE[part.source].indoors for part in self.scene.all_parts)
        return f" {self.pick(OUTSIDE)}" if outside and self.chance(OUTSIDE_CHANCE) else ""


# Every shape takes the writer, the parts that come one after the other and what is behind them (or None); it returns a
# sentence, or None where it does not apply.


def _one(w: SoundWriter, parts, behind):
    if len(parts) > 1 or behind:
        return None
    return w.pick((w.clause, w.noun))(parts[0])


def _sound_of(w: SoundWriter, parts, behind):
    if len(parts) > 1:
        return None
    more = f" and {w.noun(behind)}" if behind else ""
    return f"{w.pick(OPENINGS)} {w.noun(parts[0])}{more}"


def _there(w: SoundWriter, parts, behind):
    subject, _, doing = w.pick([s for s in SOURCE[parts[0].source].sayings if s[0] != "it"])
    if len(parts) > 1 or subject.split()[0] not in ("a", "an", "someone"):
        return None
    more = f" {w.pick(('with', 'and'))} {w.noun(behind)}" if behind else ""
    return f"there is {subject} {doing}{w.manner(parts[0])}{w.times(parts[0])}{more}"


def _then(w: SoundWriter, parts, behind):
    if len(parts) != 2:
        return None
    first = "first " if w.chance(0.1) else ""
    more = f" {w.pick(('while', 'as'))} {w.clause(behind)}" if behind and w.chance(0.6) else ""
    if not first and not more and w.chance(0.12) and parts[0].count is None:
        return f"{w._turn(parts[0], SOURCE[parts[0].source].ends, ('stop',))} and {w.begins(parts[1])}"
    return f"{first}{w.clause(parts[0])}{w.pick(THEN)} {w.begins(parts[1])}{more}"


def _followed(w: SoundWriter, parts, behind):
    if len(parts) != 2:
        return None
    more = f" with {w.noun(behind)} {BEHIND[0]}" if behind and w.chance(0.6) else ""
    return f"{w.pick((w.clause, w.noun))(parts[0])} followed by {w.noun(parts[1])}{more}"


def _before(w: SoundWriter, parts, behind):
    if len(parts) != 2:
        return None
    return f"{w.ends(parts[0])} before {w.begins(parts[1])}"


def _after(w: SoundWriter, parts, behind):
    if len(parts) != 2:
        return None
    if w.chance(0.5):
        return f"{w.begins(parts[1])} after {w.ends(parts[0])}"
    return f"{w.noun(parts[1])} after {w.noun(parts[0])}"


def _behind_then(w: SoundWriter, parts, behind):
    if len(parts) != 2 or not behind:
        return None
    return f"{w.clause(behind)} while {w.clause(parts[0])} and then {w.clause(parts[1])}"


def _three(w: SoundWriter, parts, behind):
    if len(parts) != 3:
        return None
    if w.chance(0.3):
        return f"{w.noun(parts[0])} followed by {w.noun(parts[1])} and then {w.noun(parts[2])}"
    middle = w.pick((", then", ","))
    return f"{w.clause(parts[0])}{middle} {w.clause(parts[1])}, {w.pick(('then', 'and then'))} {w.begins(parts[2])}"


def _part_of_three(w: SoundWriter, parts, behind):
    if len(parts) != 3:
        return None
    k = int(w.rng.integers(2))
    return f"{w.clause(parts[k])}{w.pick(THEN)} {w.begins(parts[k + 1])}"


def _while(w: SoundWriter, parts, behind):
    if not behind:
        return None
    part = w.pick(parts)
    return f"{w.clause(part)} {w.pick(('while', 'as'))} {w.clause(behind)}"


def _over(w: SoundWriter, parts, behind):
    if not behind:
        return None
    part = w.pick(parts)
    if w.chance(0.5):
        return f"{w.clause(behind)} {w.pick(('while', 'as'))} {w.clause(part)}"
    return f"{w.pick((w.clause, w.noun))(part)} with {w.noun(behind)} {w.pick(BEHIND)}"


def _weather(w: SoundWriter, parts, behind):
    if not behind or behind.source not in ("rain", "wind"):
        return None
    return f"{w.clause(w.pick(parts))} in the {behind.source}"


def _and(w: SoundWriter, parts, behind):
    others = [*parts, *([behind] if behind else [])]
    if len(others) < 2:
        return None
    one, other = (others[int(k)] for k in w.rng.permutation(len(others))[:2])
    return f"{w.noun(one)} and {w.noun(other)}"


_SHAPES: tuple[tuple[Callable, float], ...] = (
    (_one, 3.0),
    (_sound_of, 0.6),
    (_there, 0.5),
    (_then, 1.6),
    (_followed, 0.9),
    (_before, 0.6),
    (_after, 0.6),
    (_behind_then, 0.8),
    (_three, 1.8),
    (_part_of_three, 0.5),
    (_while, 1.0),
    (_over, 1.2),
    (_weather, 0.5),
    (_and, 0.35),
)


def write_captions(scene: SoundScene, rng: np.random.Generator) -> list[str]:
    """Five different captions, true of the scene: lower case, without a full stop.

    Each is of a shape that is drawn by its weight, again and again.
    """
    writer = SoundWriter(scene, rng)
    bounds = np.cumsum([weight for _, weight in _SHAPES])
    captions: list[str] = []
    while len(captions) < CAPTIONS:
        shape = _SHAPES[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))][0]
        caption = shape(writer, scene.parts, scene.background)
        if caption:
            caption += writer.where()
        if caption and caption not in captions:
            captions.append(caption)
    return captions
