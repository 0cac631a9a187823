"""Captions of a scene that moves: what does what, where, in which direction, and what the weather does.

People do not say everything: about 88% of captions say the motion, 60% of those of something that goes say whether to
the left or to the right, and 43% say that rain or snow starts or stops where it does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demo_world.captions import CAPTIONS, Writer, article
from demo_world.lexicon import MOVING, NOUN
from demo_world.motion.scene import MotionScene
from demo_world.motion.verbs import CHANGES, PASSES, TO_SIDE, forms, ways

SIDE_CHANCE = 0.6  # that a caption says whether something goes to the left or to the right
OPENINGS = ("a video of", "a short video of", "a clip of", "a film of")
BESIDE = ("next to", "beside", "near")
ON_FOOT = MOVING | {"trot", "gallop", "hop", "waddle", "slither", "jog", "roll"}  # may go "across" a place


class MotionWriter(Writer):
    """Says things about one scene that moves."""

    def __init__(self, scene: MotionScene, rng: np.random.Generator):
        super().__init__(scene.rest, rng)
        self.moving, self.motion = scene, scene.motion
        self.ways = ways(scene.mover.noun, scene.motion.kind or "")

    def act(self, participle: bool, place: float, way_there: str = "") -> str:
        """What the first group does: "runs to the left across a meadow".

        Args:
            participle: "running", not "runs" or "run".
            place: how likely the place is said.
            way_there: what is said in the place's stead.
        """
        way, mover = self.pick(self.ways), self.moving.mover
        one, many, doing = forms(way)
        words = [doing if participle else one if mover.count == 1 else many]
        side = self.pick(TO_SIDE[self.motion.direction]) if self.motion.direction and self.chance(SIDE_CHANCE) else ""
        if not way_there and self.chance(place):
            across = self.motion.kind == "go" and way in ON_FOOT and self.place.across and self.chance(0.5)
            way_there = self.pick(self.place.across) if across else self.where(mover)
        words += [way_there, side] if self.chance(0.5) else [side, way_there]
        return " ".join(filter(None, words))

    def end(self, probability: float) -> str:
        """What the weather does or is, with a blank before it, or nothing."""
        if self.motion.change is None:
            return self.when(probability)
        return f" {self.pick(CHANGES[self.motion.change][3])}" if self.chance(max(probability, 0.5)) else ""

    def passes(self) -> bool:
        """Whether the first group goes past the other one, on one side of it and then on the other."""
        scene = self.moving
        if scene.other is None or self.motion.kind != "go" or NOUN[scene.mover.noun].zone == "sky":
            return False
        return min(scene.start.x, scene.end.x) < scene.other.x - 0.05 and scene.other.x + 0.05 < max(
            scene.start.x, scene.end.x
        )


# Every shape takes the writer, the group a that moves and another one b (or None); it returns a sentence, or None where
# it does not apply.


def _does(w: MotionWriter, a, b):
    return f"{w.group(a)} {w.act(False, 0.75)}{w.end(0.35)}"


def _doing(w: MotionWriter, a, b):
    return f"{w.group(a)} {w.act(True, 0.75)}{w.end(0.35)}"


def _video(w: MotionWriter, a, b):
    return f"{w.pick(OPENINGS)} {w.group(a)} {w.act(True, 0.7)}{w.end(0.2)}"


def _there(w: MotionWriter, a, b):
    first = w.group(a)
    return f"there {'is' if first.startswith('a') else 'are'} {first} {w.act(True, 0.8)}"


def _past(w: MotionWriter, a, b):
    other = w.moving.other
    if other is None or not w.passes():
        return None
    before = w.moving.mover.bottom > other.bottom + 0.01
    past = w.pick(PASSES) if before and w.chance(0.5) else PASSES[0]
    return f"{w.group(a)} {w.act(w.chance(0.5), 0.0, f'{past} {w.group(b)}')}{w.end(0.4)}"


def _beside(w: MotionWriter, a, b):
    if b is None or w.motion.kind not in ("stay", "appear", "vanish") or NOUN[a.noun].zone == "sky":
        return None
    return f"{w.group(a)} {w.act(w.chance(0.5), 0.0, f'{w.pick(BESIDE)} {w.group(b)}')}{w.end(0.4)}"


def _while(w: MotionWriter, a, b):
    if b is None:
        return None
    return f"{w.group(b)} {w.where(b)} while {w.group(a)} {w.act(False, 0.0)}"


def _with(w: MotionWriter, a, b):
    return b and f"{w.group(b)} {w.where(b)} with {w.group(a)} {w.act(True, 0.0)}"


def _where(w: MotionWriter, a, b):
    words, after = [w.pick(w.place.names)], ""
    if w.motion.change is None and w.chance(0.6):
        if w.weather.adjective:
            words.insert(0, w.weather.adjective)
        elif w.weather.after:
            after = f" {w.weather.after}"
    if words[0] == "ocean":
        words.insert(0, "blue")
    return f"{article(words[0])} {' '.join(words)}{after} where {w.group(a)} {w.act(False, 0.0)}"


def _change_first(w: MotionWriter, a, b):
    if w.motion.change is None:
        return None
    return f"{w.pick(CHANGES[w.motion.change][2])} {w.pick(('while', 'as'))} {w.group(a)} {w.act(False, 0.6)}"


def _change_over(w: MotionWriter, a, b):
    if w.motion.change is None:
        return None
    clause = w.pick(CHANGES[w.motion.change][2])
    return f"{clause} {w.pick(w.place.over)} with {w.group(a)}" if w.place.over and w.chance(0.6) else None


def _and_weather(w: MotionWriter, a, b):
    if w.motion.change is None or w.motion.kind in ("appear", "vanish"):
        return None
    return f"{w.group(a)} {w.where(a)}{w.end(1.0)}"


def _things(w: MotionWriter, a, b):
    if b is None or w.chance(0.4):
        return f"{w.group(a)} {w.where(a)}{w.when(0.4) if w.motion.change is None else ''}"
    return f"{w.group(a)} and {w.group(b)} {w.where(a, b)}"


_SHAPES: tuple[tuple[Callable, float], ...] = (
    (_does, 1.6),
    (_doing, 1.4),
    (_video, 0.8),
    (_there, 0.5),
    (_past, 1.2),
    (_beside, 1.2),
    (_while, 0.6),
    (_with, 0.8),
    (_where, 0.8),
    (_change_first, 1.2),
    (_change_over, 0.4),
    (_and_weather, 0.3),
    (_things, 0.75),
)


def write_captions(scene: MotionScene, rng: np.random.Generator) -> list[str]:
    """Five different captions, true of the scene: lower case, without a full stop.

    Each is of a shape that is drawn by its weight, again and again.
    """
    writer = MotionWriter(scene, rng)
    weights = np.array([weight for _, weight in _SHAPES])
    captions: list[str] = []
    while len(captions) < CAPTIONS:
        shape = _SHAPES[int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(), side="right"))][0]
        caption = shape(writer, scene.mover, scene.other)
        if caption and caption not in captions:
            captions.append(caption)
    return captions
