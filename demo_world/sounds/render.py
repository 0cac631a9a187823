"""From a scene to its wave."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from demo_world.sounds.scene import SECONDS, Part, SoundScene
from demo_world.sounds.sources import SOURCE
from demo_world.sounds.synthesis import RATE, decay, fade, length, noise

SAMPLES = length(SECONDS)
LOUDNESS = 0.05  # of the loudest 50 milliseconds of a part of 0 decibels: root mean square, where 1 is full scale
LOUDEST_PART, PEAK = 0.6, 0.95  # of a part and of a scene
WET = 0.35  # the share of the room
REVERBERATION = (0.12, 0.25)  # seconds in which the room's sound falls to 1 / e


def render_part(part: Part) -> np.ndarray:
    """One source alone, as it is in its scene: (80000,) float64."""
    rng, source = np.random.default_rng(part.seed), SOURCE[part.source]
    start = length(part.start) if part.start > 0 else 0
    wave = np.zeros(SAMPLES)
    if part.count is None:
        sound = source.synthesize(rng, part.seconds, part.pitch)
        end = part.start + part.seconds < SECONDS - 0.05
        _add(wave, fade(sound, 0.12 if start else 0.01, 0.2 if end else 0.01), start)
    else:
        for number in range(part.count):
            sound = source.synthesize(rng, part.pitch) * rng.uniform(0.8, 1)
            _add(wave, sound, start + round(number * part.spacing * RATE))
    frames = wave[: SAMPLES // 800 * 800].reshape(-1, 800)
    loud = np.sqrt((frames**2).mean(axis=1).max())
    gain = LOUDNESS * 10 ** (part.level / 20) / max(loud, 1e-9)
    return wave * min(gain, LOUDEST_PART / max(np.abs(wave).max(), 1e-9))


def render_sound(scene: SoundScene) -> np.ndarray:
    """The scene: (80000,) int16, 5 seconds of 16 kHz, never clipped."""
    wave = sum((render_part(part) for part in scene.all_parts), np.zeros(SAMPLES))
    if scene.indoors:
        wave = _in_a_room(wave, np.random.default_rng(scene.parts[0].seed + 1))
    wave *= min(1.0, PEAK / max(np.abs(wave).max(), 1e-9))
    return np.round(wave * 32767).astype(np.int16)


def _add(wave: np.ndarray, sound: np.ndarray, start: int) -> None:
    there = wave[start : start + len(sound)]
    there += sound[: len(there)]


def _in_a_room(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The wave and its echoes in a room, as loud as before."""
    seconds = 0.9
    echoes = noise(rng, length(seconds)) * decay(seconds, rng.uniform(*REVERBERATION))
    room = fftconvolve(wave, echoes)[: len(wave)]
    room *= np.sqrt((wave**2).mean() / max((room**2).mean(), 1e-12))
    return (1 - WET) * wave + WET * room
