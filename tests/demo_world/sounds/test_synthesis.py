"""The parts of sources against slow references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import freqz

from demo_world.sounds.spectrogram import BANDS, log_mel
from demo_world.sounds.synthesis import (
    HIGHEST,
    RATE,
    band,
    curve,
    fade,
    length,
    overtones,
    resonance,
    scatter,
    tone,
    wander,
)


def test_a_tone_is_the_sum_of_its_partials():
    frequency = curve(0.1, 300, 900, 500)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    amplitudes = [1.0, 0.0, 0.5, 0.25, 0.1, 0.3, 0.2, 0.1, 0.1, 0.4]
    slow = sum(a * np.sin(n * phase) * (n * frequency < HIGHEST) for n, a in enumerate(amplitudes, 1))
    np.testing.assert_allclose(tone(frequency, amplitudes), slow, atol=1e-9)
    assert len(tone(440.0, count=37)) == 37


def test_overtones():
    assert overtones(4) == [1, 1 / 2, 1 / 3, 1 / 4] and overtones(3, 2, odd=True) == [1, 0, 1 / 9]


def test_grains_are_added_where_they_start_and_cut_at_the_end():
    rng = np.random.default_rng(0)
    starts, grains = rng.integers(0, 100, 30), [rng.standard_normal(int(n)) for n in rng.integers(1, 40, 30)]
    slow = np.zeros(100)
    for start, grain in zip(starts, grains, strict=True):
        for k, value in enumerate(grain):
            if start + k < 100:
                slow[start + k] += value
    np.testing.assert_allclose(scatter(100, starts, grains), slow)
    assert not scatter(5, np.array([], int), []).any()


@pytest.mark.parametrize("frequency", [330.0, 1500.0, 4200.0])
def test_a_resonance_lets_its_frequency_through(frequency):
    impulse = np.zeros(RATE)
    impulse[0] = 1
    _, response = freqz(resonance(impulse, frequency, 90.0), worN=[frequency / 2, frequency, frequency * 1.3], fs=RATE)
    assert abs(response[1]) == pytest.approx(1, rel=0.02)
    assert abs(response[0]) < 0.4 and abs(response[2]) < 0.4


def test_bands_hold_what_is_between_their_ends():
    for low, high in ((None, 500), (500, 2000), (2000, None)):
        loud = [np.std(band(tone(f, count=RATE), low, high)[2000:]) for f in (100.0, 1000.0, 6000.0)]
        inside = [(low or 0) < f < (high or RATE) for f in (100.0, 1000.0, 6000.0)]
        assert [value > 0.4 for value in loud] == inside


def test_curves_and_ramps():
    line = wander(np.random.default_rng(0), 2.0, 3, -1, 4)
    assert len(line) == length(2.0) and line.min() >= -1 and line.max() <= 4 and np.abs(np.diff(line)).max() < 0.01
    ramped = fade(np.ones(RATE), 0.1, 0.2)
    assert ramped[0] == 0 and ramped[RATE // 2] == 1 and ramped[-1] < 0.01 and ramped[800] == pytest.approx(0.5)


def test_spectrograms_show_frequency_and_time():
    loud = log_mel(np.concatenate([tone(400.0, count=RATE), np.zeros(RATE), tone(3000.0, count=RATE)]))
    assert loud.shape[0] == BANDS
    low, silent, high = (loud[:, frame] for frame in (50, 150, 250))
    assert low.argmax() < high.argmax() and silent.max() == pytest.approx(-90)
    wave = (tone(400.0, count=RATE) * 20000).astype(np.int16)
    np.testing.assert_allclose(log_mel(wave), log_mel(wave / 32768))


def test_grains_outside_are_cut_and_those_before_the_start_begin_there():
    wave = scatter(5, np.array([-2, 3, 9]), [np.ones(2), np.ones(4), np.ones(3)])
    assert wave.tolist() == [1, 1, 0, 1, 1]
