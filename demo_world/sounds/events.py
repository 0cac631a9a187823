"""Sources that sound for a moment and can be counted: a bell, a bark, a knock.

Every one takes a generator and a factor on its usual pitch, and returns one occurrence.
"""

from __future__ import annotations

import numpy as np

from demo_world.sounds.synthesis import (
    RATE,
    band,
    curve,
    decay,
    fade,
    formants,
    length,
    noise,
    overtones,
    scatter,
    times,
    tone,
)


def bell(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """Partials of a cast bell, the higher ones shorter."""
    seconds, base = 1.3, 520 * pitch
    wave = np.zeros(length(seconds))
    for ratio, loud, long in ((0.5, 0.5, 0.9), (1, 1, 0.6), (1.19, 0.7, 0.45), (1.5, 0.4, 0.4), (2, 0.8, 0.35),
                              (2.74, 0.5, 0.2), (3.76, 0.35, 0.12), (5.4, 0.25, 0.06)):  # fmt: skip
        wave += loud * tone(base * ratio, count=len(wave)) * decay(seconds, long)
    return fade(wave, 0.002, 0.1)


def whistle(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A breathy steady tone that trills, as of a referee."""
    seconds = rng.uniform(0.45, 0.6)
    frequency = 2500 * pitch**0.5 * (1 + 0.03 * np.sin(2 * np.pi * 28 * times(seconds)))
    wave = tone(frequency) + 0.12 * band(noise(rng, len(frequency)), 1800, 4500)
    return fade(wave, 0.03, 0.05)


def drum(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A skin whose pitch falls, with the click of the stick."""
    seconds = 0.4
    frequency = 85 * pitch * (1 + 1.4 * decay(seconds, 0.03))
    wave = tone(frequency) * decay(seconds, 0.12)
    click = 0.12 * band(noise(rng, len(wave)), 600, 3000) * decay(seconds, 0.012)
    return fade(wave + click, 0.001, 0.05)


def knock(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A short thud of wood."""
    seconds = 0.16
    hit = noise(rng, length(seconds)) * decay(seconds, 0.006)
    wave = formants(hit, (330 * pitch, 40, 1.0), (710 * pitch, 60, 0.8), (1250 * pitch, 90, 0.4))
    return fade(wave, 0.001, 0.03)


def bark(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A burst of a rough voice whose pitch goes up and down."""
    seconds = rng.uniform(0.2, 0.26)
    frequency = curve(seconds, 330, 520, 470, 280) * pitch * rng.uniform(0.95, 1.05)
    voice = tone(frequency, overtones(14, 0.5)) + 0.9 * noise(rng, len(frequency))
    return fade(formants(voice, (750, 180, 1.0), (1500, 260, 0.7), (2900, 500, 0.25)), 0.012, 0.08)


def meow(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A long clear voice that glides up and then down, while the mouth opens and closes."""
    seconds = rng.uniform(0.75, 0.95)
    frequency = curve(seconds, 480, 720, 760, 640, 430) * pitch
    voice = tone(frequency, overtones(9, 0.9))
    opened = curve(seconds, 0.1, 1, 0.8, 0.1)
    return fade((1 - opened) * band(voice, None, 900) + opened * band(voice, 900, 3600), 0.06, 0.15)


def chirp(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """Three or four quick calls of a small bird."""
    calls = []
    for _ in range(int(rng.integers(3, 5))):
        frequency = curve(0.07, 3600, 5200, 3900) * pitch**0.4 * rng.uniform(0.96, 1.04)
        calls += [fade(tone(frequency), 0.01, 0.02), np.zeros(length(0.035))]
    return np.concatenate(calls)


def thunder(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A crack and a long rumble."""
    seconds = rng.uniform(1.7, 2.1)
    rumble = band(noise(rng, length(seconds)), 28, 110 * pitch) * decay(seconds, 0.7)
    rumble *= np.interp(times(seconds), np.linspace(0, seconds, 14), rng.uniform(0.35, 1, 14))
    crack = 0.5 * band(noise(rng, len(rumble)), 80, 700) * decay(seconds, 0.12)
    return fade(rumble + crack, 0.02, 0.4)


def telephone(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """The electric bells of an old telephone, struck by turns."""
    seconds = 0.95
    moments = times(seconds)
    turns = np.sin(2 * np.pi * 11 * moments) > 0
    wave = np.where(turns, tone(1350 * pitch**0.3, (1, 0.1, 0.5), len(moments)), 0)
    wave = wave + np.where(turns, 0, tone(1690 * pitch**0.3, (1, 0.1, 0.5), len(moments)))
    return fade(wave, 0.01, 0.08)


def beep(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """An electronic beep: a square wave, on and off."""
    return fade(tone(950 * pitch**0.5, overtones(7, 1.0, odd=True), length(0.24)), 0.004, 0.004)


def horn(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """The two reeds of a car's horn."""
    count = length(rng.uniform(0.5, 0.65))
    low, high = (tone(base * pitch**0.4, overtones(16, 0.6), count) for base in (405, 508))
    return fade(low + high, 0.015, 0.04)


def moo(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A long low voice."""
    seconds = rng.uniform(1.1, 1.35)
    voice = tone(curve(seconds, 105, 150, 155, 140, 110) * pitch, overtones(24, 0.7))
    return fade(formants(voice, (330, 90, 1.0), (700, 140, 0.7), (2100, 300, 0.12)), 0.12, 0.25)


def croak(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A train of pulses, as of a frog."""
    seconds = rng.uniform(0.4, 0.5)
    starts = np.arange(0, length(seconds) - 200, int(RATE / (38 * pitch)))
    pulse = tone(820 * pitch**0.5, (1, 0.5), 220) * np.exp(-np.arange(220) / 55)
    return fade(scatter(length(seconds), starts, [pulse] * len(starts)), 0.05, 0.08)


def hoot(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A short and a long call of an owl."""
    calls = [fade(tone(curve(long, 375, 390, 365) * pitch**0.7), 0.05, 0.08) for long in (0.2, 0.5)]
    return np.concatenate([calls[0], np.zeros(length(0.1)), calls[1]])


def glass(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A crash and the ringing of many pieces."""
    count = length(0.8)
    starts = np.sort((rng.exponential(0.12, 40) * RATE).astype(int).clip(0, count - 1))
    pieces = [tone(rng.uniform(2600, 7000), count=900) * np.exp(-np.arange(900) / rng.uniform(80, 300)) for _ in starts]
    crash = band(noise(rng, count), 2500, None) * decay(0.8, 0.05)
    return fade(1.2 * crash + 0.6 * scatter(count, starts, pieces), 0.001, 0.1)


def cough(rng: np.random.Generator, pitch: float) -> np.ndarray:
    """A burst of breath with a little voice."""
    seconds = rng.uniform(0.24, 0.3)
    breath = noise(rng, length(seconds)) + 0.8 * tone(curve(seconds, 170, 120) * pitch, overtones(10, 0.5))
    wave = formants(breath, (560, 220, 1.0), (1150, 300, 0.8), (2500, 700, 0.5))
    return fade(wave * curve(seconds, 1.0, 0.55, 0.3, 0.1), 0.008, 0.06)
