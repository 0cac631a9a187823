"""A scene that sounds: sources one after the other, perhaps over another one; sampled, not yet synthesized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_world.scene import choose
from demo_world.sounds.sources import SOURCE, SOURCES, Source

SECONDS = 5.0  # a scene
# (sources one after the other, whether another one goes on behind them) -> how likely
SHAPES = {(1, False): 0.14, (2, False): 0.3, (3, False): 0.12, (1, True): 0.28, (2, True): 0.16}
COUNTS = (0.35, 0.3, 0.2, 0.15)  # chances of 1, 2, 3 and 4 occurrences
LEAST_TEXTURE = 1.4  # seconds
GAP = 0.3  # seconds, at least, between one source and the next
TAIL = 0.4  # seconds that the last occurrence of a counted source takes, beside its spacing
INDOORS_CHANCE = 0.3  # where all sources may be heard in a room
FOREGROUND = (-8.0, 5.0)  # decibels
BACKGROUND = (-11.0, -6.0)  # decibels below what is before it
BESIDE = (-4.0, 0.0)  # the same where another texture is before it, which could hide it


@dataclass(frozen=True)
class Part:
    """One source of a scene.

    Attributes:
        count: occurrences; None for a texture.
        start, seconds: when.
        spacing: seconds between the starts of occurrences; 0 for a texture.
        level: decibels.
        pitch: a factor on the usual one, or on the tempo.
        seed: of its wave.
    """

    source: str
    count: int | None
    start: float
    seconds: float
    spacing: float
    level: float
    pitch: float
    seed: int


@dataclass(frozen=True)
class SoundScene:
    """parts: one after the other; background: what goes on from the beginning to the end, or None."""

    parts: tuple[Part, ...]
    background: Part | None
    indoors: bool

    @property
    def all_parts(self) -> tuple[Part, ...]:
        return (*self.parts, *((self.background,) if self.background else ()))


def sample_sound_scene(rng: np.random.Generator) -> SoundScene:
    """Draw a scene; the same generator state gives the same scene."""
    number, has_background = choose(rng, list(SHAPES), list(SHAPES.values()))
    order = [SOURCES[k] for k in rng.permutation(len(SOURCES))]
    background = next(source for source in order if not source.counted) if has_background else None
    sources = [source for source in order if source is not background][:number]
    counts = [_count(rng, source) for source in sources]
    spacings = [source.spacing * 2 ** rng.uniform(-0.1, 0.2) for source in sources]
    lengths = _fit(counts, spacings)
    sources, counts, spacings = sources[: len(lengths)], counts[: len(lengths)], spacings[: len(lengths)]
    starts, lengths = _spread(rng, sources, lengths)
    indoors = all(source.indoors for source in (*sources, *([background] if background else [])))
    indoors = indoors and rng.random() < INDOORS_CHANCE
    parts = tuple(
        Part(source.name, count, start, seconds, spacing, rng.uniform(*FOREGROUND), *_voice(rng))
        for source, count, start, seconds, spacing in zip(sources, counts, starts, lengths, spacings, strict=True)
    )
    behind = None
    if background:
        level = parts[0].level + rng.uniform(*(BACKGROUND if sources[0].counted else BESIDE))
        behind = Part(background.name, None, 0.0, SECONDS, 0.0, level, *_voice(rng))
    return SoundScene(parts, behind, indoors)


def _voice(rng: np.random.Generator) -> tuple[float, int]:
    """A pitch, and the seed of a wave."""
    return 2 ** rng.uniform(-0.3, 0.3), int(rng.integers(2**31))


def _count(rng: np.random.Generator, source: Source) -> int | None:
    return min(choose(rng, (1, 2, 3, 4), COUNTS), source.most) if source.counted else None


def _fit(counts: list[int | None], spacings: Sequence[float]) -> list[float]:
    """The least seconds that each part takes; lowers counts, or leaves the last parts out, until all fit."""
    while True:
        lengths = [
            LEAST_TEXTURE if count is None else count * spacing + TAIL
            for count, spacing in zip(counts, spacings, strict=False)
        ]
        if sum(lengths) + GAP * (len(lengths) - 1) <= SECONDS:
            return lengths
        longest = max(range(len(counts)), key=lambda k: (counts[k] or 0, lengths[k]))
        if (counts[longest] or 1) > 1:
            counts[longest] = (counts[longest] or 1) - 1
        else:
            counts.pop()


def _spread(
    rng: np.random.Generator, sources: Sequence[Source], lengths: list[float]
) -> tuple[list[float], list[float]]:
    """Starts and lengths: what time is left goes to the textures or, if there are none, between the parts."""
    slack = SECONDS - sum(lengths) - GAP * (len(lengths) - 1)
    shares = rng.dirichlet(np.ones(len(lengths) + 1)) * slack  # before each part, and after the last one
    is_texture = [not source.counted for source in sources]
    if any(is_texture):
        growth = np.where(is_texture, rng.uniform(0.7, 1.3, len(lengths)), 0.0)
        lengths = [length + slack * share for length, share in zip(lengths, growth / growth.sum(), strict=True)]
        shares = np.zeros(len(lengths) + 1)
    starts, moment = [], 0.0
    for length, share in zip(lengths, shares, strict=False):
        starts.append(float(moment + share))
        moment += share + length + GAP
    return starts, [float(length) for length in lengths]


def sources_of(scene: SoundScene) -> list[Source]:
    """The scene's sources, what goes on behind the others last."""
    return [SOURCE[part.source] for part in scene.all_parts]
