"""Sources that go on: rain, an engine, a siren.

Every one takes a generator, seconds, and a factor on its usual pitch or tempo.
"""

from __future__ import annotations

import numpy as np

from demo_world.sounds.synthesis import (
    RATE,
    band,
    decay,
    fade,
    formants,
    length,
    noise,
    overtones,
    scatter,
    times,
    tone,
    wander,
)


def _beats(rng: np.random.Generator, seconds: float, period: float, jitter: float = 0.0) -> np.ndarray:
    """The samples at which something happens again and again, the first one soon."""
    moments = np.arange(period * 0.3, seconds - 0.02, period)
    return ((moments + rng.uniform(-jitter, jitter, len(moments)) * period) * RATE).astype(int).clip(0)


def siren(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """A wail that goes up and down."""
    moments = times(seconds)
    swing = (1 - np.cos(2 * np.pi * (rng.uniform(0.35, 0.6) * moments + rng.random()))) / 2
    return tone((650 + 750 * swing) * pitch**0.4, (1, 0.35, 0.25, 0.1))


def rain(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """A bright hiss with drops."""
    count = length(seconds)
    hiss = band(noise(rng, count), 1200 * pitch**0.5, None, order=1)
    starts = rng.integers(0, count, round(70 * seconds))
    drops = [
        loud * tone(frequency, count=160) * np.exp(-np.arange(160) / 35)
        for frequency, loud in zip(rng.uniform(1500, 5000, len(starts)), rng.exponential(0.8, len(starts)), strict=True)
    ]
    return 0.6 * hiss + scatter(count, starts, drops)


def wind(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Noise whose color and loudness wander: gusts."""
    raw = noise(rng, length(seconds))
    low, high = band(raw, 120, 380 * pitch), band(raw, 420, 800 * pitch)
    gust = wander(rng, seconds, 1.1, 0.15, 1.0)
    return low * gust + 0.8 * high * gust**2


def engine(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Firing strokes of an engine that idles."""
    frequency = 46 * pitch * (1 + 0.04 * wander(rng, seconds, 3, -1, 1))
    strokes = tone(frequency, overtones(18, 0.5)) * (1 + 0.5 * tone(frequency / 4))
    return band(strokes, 40, 700) + 0.12 * band(noise(rng, len(frequency)), 100, 1500)


def clock(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Tick and tock."""
    starts = _beats(rng, seconds, 0.5 / pitch**0.5)
    hit = decay(0.05, 0.0025)
    tick, tock = (formants(noise(rng, len(hit)) * hit, (base * pitch**0.3, 120, 1.0)) for base in (3300, 2500))
    return scatter(length(seconds), starts, [(tick, tock)[k % 2] for k in range(len(starts))])


def footsteps(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Heels and soles on gravel."""
    starts = _beats(rng, seconds, 0.58 / pitch**0.5, 0.04)
    steps = []
    for _ in starts:
        sole = 0.5 * band(noise(rng, length(0.2)), 900, 3200) * decay(0.2, 0.05)
        steps.append(fade(sole + 2.0 * band(noise(rng, len(sole)), 90, 260) * decay(0.2, 0.03), 0.008, 0.04))
    return scatter(length(seconds), starts, steps)


def waves(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Surf that swells and breaks."""
    phase = (rng.uniform(0.35, 0.5) * times(seconds) + rng.random()) % 1
    swell = np.where(phase < 0.45, (phase / 0.45) ** 2, ((1 - phase) / 0.55) ** 1.5)
    raw = noise(rng, len(phase))
    return (0.08 + swell) * band(raw, 180, 1100 * pitch, order=1) + 0.5 * swell**2 * band(raw, 1500, 5000)


def applause(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Many hands, each clap a short resonance."""
    count = length(seconds)
    starts = rng.integers(0, count, round(150 * seconds))
    shapes = [
        formants(noise(rng, 500) * np.exp(-np.arange(500) / 50), (base * pitch**0.3, 350, 1.0))
        for base in rng.uniform(900, 2100, 24)
    ]
    return scatter(
        count, starts, [shapes[k % 24] * (0.4 + 0.6 * loud) for k, loud in enumerate(rng.random(len(starts)))]
    )


def crickets(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """High trills, each of a few pulses."""
    moments = times(seconds)
    trill = (moments * 2.2 * pitch**0.5 + rng.random()) % 1 < 0.45
    pulses = np.maximum(0, np.sin(2 * np.pi * 27 * moments)) ** 2
    return tone(4600 * pitch**0.2, count=len(moments)) * pulses * band(trill.astype(float), None, 60, order=1)


def fire(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Crackling: sparse snaps of all sizes over a soft low roar."""
    count = length(seconds)
    starts = rng.integers(0, count, round(16 * seconds))
    snaps = [
        loud * noise(rng, 240) * np.exp(-np.arange(240) / rng.uniform(8, 40))
        for loud in rng.pareto(1.8, len(starts)).clip(0.2, 6)
    ]
    crackle = band(scatter(count, starts, snaps), 700 * pitch, 6500, order=1)
    return crackle + 0.35 * band(noise(rng, count), 50, 180) * wander(rng, seconds, 4, 0.5, 1)


def helicopter(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """The chop of rotor blades."""
    moments = times(seconds)
    chop = np.maximum(0, np.sin(2 * np.pi * 11.5 * pitch**0.5 * moments)) ** 3
    raw = noise(rng, len(moments))
    whine = 0.06 * tone(1900 * pitch**0.3, count=len(moments))
    return chop * band(raw, 70, 480) + 0.12 * band(raw, 300, 2500) + whine


def stream(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Running water: bubbles whose tone rises."""
    count = length(seconds)
    starts = rng.integers(0, count, round(55 * seconds))
    bubbles = []
    for base, long in zip(rng.uniform(380, 1300, len(starts)), rng.uniform(0.03, 0.07, len(starts)), strict=True):
        rise = base * pitch * (1 + 0.5 * np.linspace(0, 1, length(long)))
        bubbles.append(fade(tone(rise), 0.004, long * 0.7) * rng.uniform(0.3, 1))
    return scatter(count, starts, bubbles) + 0.1 * band(noise(rng, count), 500, 2500)


def bees(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """The buzz of wings, nearer and farther."""
    frequency = 215 * pitch**0.6 * (1 + 0.06 * wander(rng, seconds, 5, -1, 1))
    buzz = band(tone(frequency, overtones(20, 0.4)), 180, 2800)
    return buzz * wander(rng, seconds, 2.5, 0.25, 1.0)


def typing(rng: np.random.Generator, seconds: float, pitch: float) -> np.ndarray:
    """Keys of a keyboard, in bursts."""
    gaps = rng.choice((0.09, 0.13, 0.16, 0.34), round(9 * seconds)) / pitch**0.3
    starts = (np.cumsum(gaps)[np.cumsum(gaps) < seconds - 0.02] * RATE).astype(int)
    keys = [
        formants(noise(rng, 400) * np.exp(-np.arange(400) / 40), (rng.uniform(1500, 2100), 500, 0.8), (4200, 900, 0.7))
        for _ in starts
    ]
    return scatter(length(seconds), starts, keys)
