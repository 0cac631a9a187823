"""Scenes that sound: their parts fit, follow each other, are loud enough and told apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from demo_world.sounds.preview import alone
from demo_world.sounds.render import PEAK, SAMPLES, render_part, render_sound
from demo_world.sounds.scene import SECONDS, SHAPES, SoundScene, sample_sound_scene, sources_of
from demo_world.sounds.sources import SOURCE, SOURCES
from demo_world.sounds.spectrogram import log_mel
from demo_world.sounds.synthesis import RATE


@pytest.fixture(scope="module")
def scenes():
    return [sample_sound_scene(np.random.default_rng([75, index])) for index in range(1500)]


def test_parts_fit_and_follow_each_other(scenes):
    for scene in scenes:
        moment = 0.0
        for part in scene.parts:
            assert part.start >= moment - 1e-9, scene
            moment = part.start + part.seconds
            source = SOURCE[part.source]
            assert (part.count is not None) == source.counted
            if part.count is not None:
                assert 1 <= part.count <= source.most and part.count * part.spacing <= part.seconds
        assert moment <= SECONDS + 1e-6
        names = [part.source for part in scene.all_parts]
        assert len(set(names)) == len(names)
        assert not scene.indoors or all(source.indoors for source in sources_of(scene))
        assert scene.background is None or (scene.background.count is None and scene.background.seconds == SECONDS)


def test_all_shapes_sources_and_counts_come(scenes):
    assert len(SOURCES) >= 16
    shapes = Counter((len(scene.parts), scene.background is not None) for scene in scenes)
    assert set(shapes) == set(SHAPES) and min(shapes.values()) > 100
    names = Counter(part.source for scene in scenes for part in scene.all_parts)
    assert set(names) == set(SOURCE) and min(names.values()) > 50
    assert {part.count for scene in scenes for part in scene.parts} == {None, 1, 2, 3, 4}
    assert 0.03 < np.mean([scene.indoors for scene in scenes]) < 0.15


def test_waves_are_whole_and_never_clipped(scenes):
    for scene in scenes[:15]:
        wave = render_sound(scene)
        assert wave.shape == (SAMPLES,) and wave.dtype == np.int16
        assert 0.01 < np.abs(wave.astype(int)).max() / 32767 <= PEAK + 1e-4
        np.testing.assert_array_equal(wave, render_sound(scene))


def test_a_part_is_heard_when_it_is_there(scenes):
    """Nothing before its start; of a texture, nothing after its end."""
    for part in [part for scene in scenes[:60] for part in scene.parts if part.start > 0.1][:25]:
        wave = render_part(part)
        start, end = round(part.start * RATE), round((part.start + part.seconds) * RATE)
        assert not wave[: start - 1].any() and wave[start:end].any()
        if part.count is None:
            assert not wave[end + 1 :].any()


@pytest.mark.parametrize("name", ["knock", "bark", "beep", "whistle", "drum", "horn", "meow", "cough", "croak"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_occurrences_can_be_counted(name, count):
    for seed in range(3):
        wave = render_part(replace(alone(SOURCE[name], seed), count=count))
        loud = np.sqrt((wave[: SAMPLES // 160 * 160].reshape(-1, 160) ** 2).mean(axis=1))  # every 10 milliseconds
        loud = np.convolve(loud, np.ones(8) / 8, "same")
        assert np.sum(np.diff((loud > 0.15 * loud.max()).astype(int)) == 1) == count


def test_louder_parts_are_louder():
    soft, loud = (render_part(replace(alone(SOURCE["bark"], 1), level=level)) for level in (-6.0, 0.0))
    np.testing.assert_allclose(loud, soft * 10 ** (6 / 20))


def test_a_room_has_echoes_and_is_as_loud():
    part = replace(alone(SOURCE["knock"], 0), count=1)
    dry, wet = (render_sound(SoundScene((part,), None, indoors)).astype(float) for indoors in (False, True))
    end = round((part.start + 0.25) * RATE)
    assert not dry[end:].any() and np.abs(wet[end : end + 800]).max() > 5
    assert 0.4 < np.std(wet) / np.std(dry) < 1.2


def features(wave: np.ndarray) -> np.ndarray:
    """The mean log-mel spectrum of what is heard, whatever its loudness."""
    decibels = log_mel(wave)
    loudest = decibels.max(axis=0)
    spectrum = decibels[:, loudest > loudest.max() - 45].mean(axis=1)
    return spectrum - spectrum.mean()


def test_sources_are_told_apart_by_their_mean_spectra():
    """Nearest centroid of four takes each, on two others, each of another pitch, tempo and number."""
    seen = np.array(
        [
            [
                features(render_part(replace(part, count=part.count and 1 + seed % part.count)))
                for seed in range(6)
                for part in [alone(source, seed)]
            ]
            for source in SOURCES
        ]
    )  # (sources, takes, bands)
    centroids, others = seen[:, :4].mean(axis=1), seen[:, 4:]
    nearest = ((others[:, :, None] - centroids) ** 2).sum(axis=-1).argmin(axis=-1)
    assert (nearest == np.arange(len(SOURCES))[:, None]).mean() > 0.93
