"""Log-mel spectrograms, to look at sounds and to tell sources apart."""

from __future__ import annotations

from functools import cache

import numpy as np

from demo_world.sounds.synthesis import RATE

BANDS = 64
WINDOW, HOP = 512, 160  # samples
FLOOR = 1e-9  # of power; silence is -90 decibels


@cache
def _filters() -> np.ndarray:
    from transformers.audio_utils import mel_filter_bank

    return mel_filter_bank(WINDOW // 2 + 1, BANDS, 50.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Decibels of a wave, int16 or float from -1 to 1: (bands, frames), low frequencies first."""
    from transformers.audio_utils import spectrogram, window_function

    samples = wave / 32768 if wave.dtype == np.int16 else wave
    return spectrogram(
        samples, window_function(WINDOW), WINDOW, HOP, power=2.0, mel_filters=_filters(), log_mel="dB", mel_floor=FLOOR
    )
