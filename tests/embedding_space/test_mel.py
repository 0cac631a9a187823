"""Log-mel spectrograms against a slow reference, and options that do not fit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from embedding_space.mel import LogMel, model_mel


def hz(mel: float) -> float:
    """Slaney's scale: linear to 1,000 Hz, which are 15 mels, and logarithmic above."""
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def mel_of(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def slow_log_mel(waveform: np.ndarray, options: LogMel) -> np.ndarray:
    """(mels, frames), number by number."""
    half = options.window // 2
    padded = np.pad(waveform.astype(float), half, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(options.window) / options.window)
    edges = [hz(m) for m in np.linspace(mel_of(options.f_min), mel_of(options.highest), options.mels + 2)]
    picture = np.zeros((options.mels, options.frames))
    for frame in range(options.frames):
        part = padded[frame * options.hop : frame * options.hop + options.window] * window / window.sum()
        power = np.abs(np.fft.rfft(part)) ** 2
        for band in range(options.mels):
            low, center, high = edges[band : band + 3]
            total = 0.0
            for bin_, value in enumerate(power):
                frequency = bin_ * options.sample_rate / options.window
                total += value * max(0, min((frequency - low) / (center - low), (high - frequency) / (high - center)))
            decibels = 10 * np.log10(max(total, 10 ** (options.floor_db / 10)))
            picture[band, frame] = (decibels - options.mean_db) / options.std_db
    return picture


def test_spectrograms_agree_with_a_slow_reference():
    options = LogMel(sample_rate=8000, seconds=0.1, mels=12, window=128, hop=50, f_min=100, f_max=3000, channels=1)
    waveforms = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, 3, 800)).astype(np.float32))
    pictures = options.spectrogram(waveforms)
    assert pictures.shape == (2, 3, 1, 12, options.frames) and pictures.dtype == torch.float32
    for row in range(2):
        for column in range(3):
            slow = slow_log_mel(waveforms[row, column].numpy(), options)
            np.testing.assert_allclose(pictures[row, column, 0].numpy(), slow, atol=2e-4)


def test_a_tone_is_a_line_at_its_height_and_silence_the_floor():
    options = LogMel(seconds=1, channels=3)
    time = torch.arange(options.samples) / options.sample_rate
    picture = options.spectrogram(torch.sin(2 * torch.pi * 1000 * time))
    assert picture.shape == (3, 64, 32) and torch.equal(picture[0], picture[2])
    edges = np.array([hz(m) for m in np.linspace(mel_of(50), mel_of(8000), 66)])
    assert (picture[0].argmax(dim=0) == int(np.abs(edges[1:-1] - 1000).argmin())).all()
    loudest = picture.max().item() * 20 - 40
    assert -9 < loudest < -3  # decibels; a sine's power at its frequency is 1/4
    silence = options.spectrogram(torch.zeros(options.samples))
    assert (silence == (-80 + 40) / 20).all()


def test_files_are_cropped_and_filled(tmp_path, write_sound):
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    long = write_sound(tmp_path / "long.wav", waveform, 8000)
    options = LogMel(sample_rate=8000, seconds=0.5, mels=16, window=256, hop=128, crop="middle", channels=1)
    middle = options.spectrogram(torch.from_numpy(waveform[2000:6000]))
    assert torch.allclose(options(long), middle, atol=0.02)
    short = write_sound(tmp_path / "short.wav", waveform[:1500], 8000)
    filled = options.spectrogram(torch.from_numpy(np.tile(waveform[:1500], 3)[:4000]))
    assert torch.allclose(options(short), filled, atol=0.02) and options(short).shape == (1, 16, options.frames)
    assert torch.equal(pickle.loads(pickle.dumps(options))(short), options(short))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, r"encoder\.sound\.seconds=0 must be greater than 0"),
        ({"crop": "end"}, r"encoder\.sound\.crop='end' must be 'start' or 'middle'"),
        ({"bands": 3}, r"there is no option encoder\.sound\.bands=3"),
        ({"f_max": 9000.0}, r"encoder\.sound\.f_max=9000 .*at most half of sample_rate=16000"),
        ({"f_min": 900.0, "f_max": 800.0}, r"above f_min=900"),
        ({"seconds": 0.01}, "window=1024 is longer than the 160 samples"),
        ({"mels": 500}, "mels=500 are more bands than window=1024"),
        ({"channels": 2}, r"encoder\.sound\.channels=2 must be 1 or 3"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**options)


def test_a_models_folder_decides(tmp_path):
    trained = LogMel(mels=32)
    assert model_mel(tmp_path, None, "m") is None and model_mel(None, {"mels": 32}, "m") == trained
    trained.save(tmp_path)
    assert model_mel(tmp_path, None, "m") == model_mel(tmp_path, trained.to_json(), "m") == trained
    with pytest.raises(ValueError, match=r"encoder\.sound\.mels=64 is not what encoder\.model=m was trained with \(32"):
        model_mel(tmp_path, {"mels": 64}, "encoder.model=m")
