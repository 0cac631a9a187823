"""The parts that sources are made of: tones, noise, envelopes and resonances. Waves are (samples,) float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

RATE = 16000  # samples per second
HIGHEST = 7400.0  # Hz; partials above it are left out


def length(seconds: float) -> int:
    """Samples in so many seconds."""
    return max(1, round(seconds * RATE))


def times(seconds: float) -> np.ndarray:
    """The moment of each sample, in seconds."""
    return np.arange(length(seconds)) / RATE


def curve(seconds: float, *points: float) -> np.ndarray:
    """A line through points at equal steps of time."""
    return np.interp(np.linspace(0, 1, length(seconds)), np.linspace(0, 1, len(points)), points)


def tone(frequency: np.ndarray | float, amplitudes: Sequence[float] = (1.0,), count: int | None = None) -> np.ndarray:
    """A tone of a frequency in Hz, which may change from sample to sample, with its overtones.

    Args:
        amplitudes: of the fundamental and of each overtone.
        count: samples, where the frequency is a number.
    """
    frequency = np.full(count or 1, frequency) if np.ndim(frequency) == 0 else np.asarray(frequency)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    wave, before, now, twice_cosine = np.zeros(len(phase)), np.zeros(len(phase)), np.sin(phase), 2 * np.cos(phase)
    lowest, highest = frequency.min(), frequency.max()
    for number, amplitude in enumerate(amplitudes, 1):
        if number * lowest >= HIGHEST:
            break
        if amplitude:
            audible = 1.0 if number * highest < HIGHEST else number * frequency < HIGHEST
            wave += amplitude * audible * now
        before, now = now, twice_cosine * now - before  # the sine of the next multiple of the phase
    return wave


def overtones(count: int, slope: float = 1.0, odd: bool = False) -> list[float]:
    """Amplitudes 1 / n ** slope; of odd numbers alone, as in a square wave."""
    return [0.0 if odd and n % 2 == 0 else n**-slope for n in range(1, count + 1)]


def noise(rng: np.random.Generator, count: int) -> np.ndarray:
    """White noise of deviation 1."""
    return rng.standard_normal(count)


def band(wave: np.ndarray, low: float | None, high: float | None, order: int = 2) -> np.ndarray:
    """What is between two frequencies in Hz; None leaves an end open."""
    if low is None:
        sos = butter(order, high, "lowpass", fs=RATE, output="sos")
    elif high is None:
        sos = butter(order, low, "highpass", fs=RATE, output="sos")
    else:
        sos = butter(order, (low, high), "bandpass", fs=RATE, output="sos")
    return np.asarray(sosfilt(sos, wave))


def resonance(wave: np.ndarray, frequency: float, width: float) -> np.ndarray:
    """The wave through a resonance of a frequency and width in Hz, with a gain of 1 at the frequency."""
    radius, angle = np.exp(-np.pi * width / RATE), 2 * np.pi * frequency / RATE
    gain = (1 - radius) * np.sqrt(1 - 2 * radius * np.cos(2 * angle) + radius**2)
    return np.asarray(lfilter([gain], [1, -2 * radius * np.cos(angle), radius**2], wave))


def formants(wave: np.ndarray, *peaks: tuple[float, float, float]) -> np.ndarray:
    """A voice: the wave through resonances side by side, each of (frequency, width, amplitude)."""
    return sum((amplitude * resonance(wave, f, w) for f, w, amplitude in peaks), np.zeros(len(wave)))


def fade(wave: np.ndarray, rise: float = 0.01, fall: float = 0.03) -> np.ndarray:
    """The wave with straight ramps of so many seconds at its ends."""
    moments = np.arange(len(wave)) / RATE
    return wave * np.minimum(1, np.minimum(moments / max(rise, 1e-4), (moments[::-1] + 1 / RATE) / max(fall, 1e-4)))


def decay(seconds: float, time: float) -> np.ndarray:
    """An envelope that falls to 1 / e in `time` seconds."""
    return np.exp(-times(seconds) / time)


def wander(rng: np.random.Generator, seconds: float, per_second: float, low: float, high: float) -> np.ndarray:
    """A smooth random curve between two values, with so many turning points per second."""
    points = rng.uniform(low, high, max(2, round(seconds * per_second) + 2))
    moments = np.linspace(0, len(points) - 1, length(seconds))
    left = np.minimum(moments.astype(int), len(points) - 2)
    weight = (1 - np.cos(np.pi * (moments - left))) / 2
    return points[left] * (1 - weight) + points[left + 1] * weight


def scatter(count: int, starts: np.ndarray, grains: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of grains, each starting at its sample, or at the first one; what is over the end is cut."""
    wave = np.zeros(count + max((len(grain) for grain in grains), default=0))
    for start, grain in zip(np.maximum(starts, 0), grains, strict=True):
        if start < count:
            wave[start : start + len(grain)] += grain
    return wave[:count]
