"""Captions of a scene: a grammar that names part of what is there, in several sentence shapes, and nothing untrue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demo_world.lexicon import MOVING, NOUN, VERBS
from demo_world.places import PLACE, WEATHER
from demo_world.scene import Group, Scene

CAPTIONS = 5  # a scene
LEFT_OF = 0.12  # least distance between centers, in picture widths, that is called left or right
HALVES = (0.45, 0.55)  # things on the left have their centers before the first, those on the right after the second
ABOVE = 0.3  # greatest sideways distance between centers at which something in the sky is called above something

COUNTS = {
    2: (("two", 0.85), ("a pair of", 0.15)),
    3: (("three", 0.8), ("a group of", 0.2)),
    4: (("four", 0.75), ("a group of", 0.25)),
}
_GRASSY = ("meadow", "farm", "lake", "mountains")
SIZES = {"big": ("big", "large"), "small": ("small", "little")}
SHINES = {
    "sunny": ("the sun shines on",),
    "rainy": ("rain falls on",),
    "snowing": ("snow falls on",),
    "night": ("the moon shines on",),
    "sunset": ("the sun sets behind",),
}
OPENINGS = ("a picture of", "a view of", "a scene with")


def article(word: str) -> str:
    """The indefinite article before a word of the lexicon."""
    return "an" if word[0] in "aeiou" else "a"


class Writer:
    """Says things about one scene."""

    def __init__(self, scene: Scene, rng: np.random.Generator):
        self.scene, self.rng = scene, rng
        self.place, self.weather = PLACE[scene.place], WEATHER[scene.weather]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def group(self, group: Group) -> str:
        """A noun phrase: "a small red car", "two geese"."""
        noun = NOUN[group.noun]
        one, many = noun.name, noun.plural
        if noun.synonyms and self.chance(0.25):
            one, many = self.pick(noun.synonyms)
        words = []
        if group.size is not None and self.chance(0.75):
            words.append(self.pick(SIZES[group.size]))
        if group.color is not None and self.chance(0.75 if len(noun.colors) > 1 else 0.15):
            words.append(group.color)
        words.append(one if group.count == 1 else many)
        if group.count == 1:
            return f"{article(words[0])} {' '.join(words)}"
        counts = COUNTS[group.count]
        number = counts[0][0] if self.chance(counts[0][1]) else counts[1][0]
        return f"{number} {' '.join(words)}"

    def where(self, *groups: Group) -> str:
        zones = {NOUN[group.noun].zone for group in groups}
        if zones == {"sky"}:
            return self.pick(self.place.over)
        afloat = zones & {"water", "deep"}
        if afloat and "ground" in zones:
            return self.pick(self.place.around)
        return self.pick(self.place.afloat if afloat else self.place.at)

    def when(self, probability: float = 1.0) -> str:
        """A weather phrase, with a blank before it, or nothing."""
        return f" {self.pick(self.weather.phrases)}" if self.weather.phrases and self.chance(probability) else ""

    def parted(self, a: Group, b: Group) -> bool:
        """Whether something else stands between the two."""
        return any(min(a.x, b.x) < other.x < max(a.x, b.x) for other in self.scene.standing)

    def verb(self, group: Group) -> str:
        verbs = [v for v in NOUN[group.noun].verbs if v != "graze" or self.scene.place in _GRASSY]
        return self.pick(verbs)

    def finite(self, group: Group, verb: str) -> str:
        return VERBS[verb][0 if group.count == 1 else 1]

    def going(self, group: Group, verb: str) -> str:
        """Where the group does it: through the place if it moves."""
        if verb in MOVING and self.place.across and self.chance(0.6):
            return self.pick(self.place.across)
        return self.where(group)


# Every shape takes the writer, the salient group a, another one b on the ground or in the water (or None) and the
# flying one s (or None); it returns a sentence, or None where it does not apply.


def _does(w: Writer, a, b, s):
    verb = w.verb(a)
    return f"{w.group(a)} {w.finite(a, verb)} {w.going(a, verb)}{w.when(0.5)}"


def _doing(w: Writer, a, b, s):
    verb = w.verb(a)
    return f"{w.group(a)} {VERBS[verb][2]} {w.going(a, verb)}{w.when(0.5)}"


def _both(w: Writer, a, b, s):
    if b is None:
        return None
    end = f" with {w.group(s)} overhead" if s is not None and w.chance(0.4) else w.when(0.35)
    return f"{w.group(a)} and {w.group(b)} {w.where(a, b)}{end}"


def _beside(w: Writer, a, b, s):
    if b is None or w.parted(a, b):
        return None
    end = f" {w.where(a, b)}" if w.chance(0.65) else w.when()
    return f"{w.group(a)} {w.pick(('next to', 'beside', 'near'))} {w.group(b)}{end}"


def _doing_beside(w: Writer, a, b, s):
    if b is None or w.parted(a, b):
        return None
    verb = w.verb(a)
    said = VERBS[verb][2] if w.chance(0.6) else w.finite(a, verb)
    return f"{w.group(a)} {said} {w.pick(('next to', 'near', 'beside'))} {w.group(b)}{w.when(0.4)}"


def _sides(w: Writer, a, b, s):
    if b is None or abs(a.x - b.x) < LEFT_OF:
        return None
    side, other = ("left", "right") if a.x < b.x else ("right", "left")
    if w.chance(0.3) and min(a.x, b.x) < HALVES[0] and max(a.x, b.x) > HALVES[1]:
        return f"{w.group(a)} on the {side} and {w.group(b)} on the {other}"
    end = f" {w.where(a, b)}" if w.chance(0.5) else ""
    return f"{w.group(a)} {w.pick((f'to the {side} of', f'on the {side} of'))} {w.group(b)}{end}"


def _place_with(w: Writer, a, b, s):
    words = [w.pick(w.place.names)]
    after = ""
    if w.weather.adjective and w.chance(0.6):
        words.insert(0, w.weather.adjective)
    elif w.weather.after and w.chance(0.7):
        after = f" {w.weather.after}"
    if words[0] == "ocean":
        words.insert(0, "blue")
    more = f" and {w.group(b)}" if b is not None and w.chance(0.75) else ""
    return f"{article(words[0])} {' '.join(words)}{after} with {w.group(a)}{more}"


def _there(w: Writer, a, b, s):
    more, groups = "", (a,)
    if b is not None and w.chance(0.5):
        more, groups = f" and {w.group(b)}", (a, b)
    first = w.group(a)
    return f"there {'is' if first.startswith('a') else 'are'} {first}{more} {w.where(*groups)}"


def _in_weather(w: Writer, a, b, s):
    if not w.weather.phrases:
        return None
    if b is not None and w.chance(0.6):
        return f"{w.group(a)} and {w.group(b)}{w.when()}"
    return f"{w.group(a)} {w.where(a)}{w.when()}"


def _shone_on(w: Writer, a, b, s):
    if w.scene.weather not in SHINES:
        return None
    more, groups = (f" and {w.group(b)}", (a, b)) if b is not None and w.chance(0.4) else ("", (a,))
    return f"{w.pick(SHINES[w.scene.weather])} {w.group(a)}{more} {w.where(*groups)}"


def _flying_over(w: Writer, a, b, s):
    if s is None or abs(s.x - a.x) > ABOVE or s.bottom > a.top:
        return None
    verb = w.verb(s)
    said = VERBS[verb][2] if w.chance(0.6) else w.finite(s, verb)
    end = f" {w.where(a)}" if w.chance(0.5) else w.when(0.4)
    return f"{w.group(s)} {said} {w.pick(('above', 'over'))} {w.group(a)}{end}"


def _under_sky(w: Writer, a, b, s):
    return s and f"{w.group(a)} {w.where(a)} with {w.group(s)} {w.pick(('in the sky', 'overhead'))}"


def _flying(w: Writer, a, b, s):
    if s is None:
        return None
    verb = w.verb(s)
    said = VERBS[verb][2] if w.chance(0.5) else w.finite(s, verb)
    return f"{w.group(s)} {said} {w.where(s)}{w.when(0.5)}"


def _three(w: Writer, a, b, s):
    if len(w.scene.standing) < 3:
        return None
    c = w.scene.standing[2]
    return f"{w.group(a)}, {w.group(b)} and {w.group(c)} {w.where(a, b, c)}"


def _picture(w: Writer, a, b, s):
    more, groups = (f" and {w.group(b)}", (a, b)) if b is not None and w.chance(0.75) else ("", (a,))
    return f"{w.pick(OPENINGS)} {w.group(a)}{more} {w.where(*groups)}{w.when(0.3)}"


def _short(w: Writer, a, b, s):
    return f"{w.group(a)} {w.where(a)}" if b is None or w.chance(0.5) else f"{w.group(a)} and {w.group(b)}"


_SHAPES: tuple[tuple[Callable, float], ...] = (
    (_does, 1.0),
    (_doing, 1.0),
    (_both, 1.5),
    (_beside, 1.4),
    (_doing_beside, 1.0),
    (_sides, 1.0),
    (_place_with, 1.1),
    (_there, 0.5),
    (_in_weather, 0.8),
    (_shone_on, 0.35),
    (_flying_over, 1.0),
    (_under_sky, 0.9),
    (_flying, 0.5),
    (_three, 1.2),
    (_picture, 0.5),
    (_short, 0.2),
)


def write_captions(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Five different captions, true of the scene: lower case, without a full stop.

    The shapes are drawn without replacement while they last, each at most once more after that.
    """
    writer = Writer(scene, rng)
    standing = scene.standing
    a, b, s = standing[0], standing[1] if len(standing) > 1 else None, scene.flying
    captions: list[str] = []
    while len(captions) < CAPTIONS:
        keys = [rng.random() ** (1.0 / weight) for _, weight in _SHAPES]  # weighted order (Efraimidis-Spirakis)
        for index in sorted(range(len(_SHAPES)), key=keys.__getitem__, reverse=True):
            caption = _SHAPES[index][0](writer, a, b, s)
            if caption and caption not in captions and len(captions) < CAPTIONS:
                captions.append(caption)
    return captions
