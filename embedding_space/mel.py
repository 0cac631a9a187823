"""Log-mel spectrograms: sounds as pictures, for towers that read pictures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from common.checks import Count, NotNegative, Positive, checked_dataclass
from common.files import write_json
from embedding_space.sounds import Crop, Short, fill, read_sound

MEL_FILE = "sound_config.json"  # in the folder of a model whose image tower reads spectrograms


@checked_dataclass("encoder.sound.")
class LogMel:
    """How a sound becomes a picture: (channels, mels, frames) float32, low tones in the first row.

    Values are powers in decibels relative to full scale, no less than `floor_db`, less `mean_db`, over `std_db`.

    Attributes:
        sample_rate: in Hz; sounds are resampled to it.
        seconds: a sound's length; longer ones are cropped, shorter ones filled.
        crop: where from: "start" or "middle".
        short: see `embedding_space.sounds.fill`.
        mels: bands, on Slaney's mel scale, between `f_min` and `f_max` Hz.
        window, hop: length and distance of the Hann windows, in samples. The first is centered on the first sample.
        f_max: null: half of the sample rate.
        mean_db, std_db: what makes values of a data set about standard normal.
        channels: 3 repeats the picture for towers of color pictures.

    Raises:
        ValueError: an option is out of range, or does not fit another one.
    """

    sample_rate: Count = 16_000
    seconds: Positive = 5.0
    crop: Crop = "middle"
    short: Short = "repeat"
    mels: Count = 64
    window: Count = 1024
    hop: Count = 512
    f_min: NotNegative = 50.0
    f_max: Positive | None = None
    floor_db: float = -80.0
    mean_db: float = -40.0
    std_db: Positive = 20.0
    channels: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        if not self.f_min < self.highest <= self.sample_rate / 2:
            raise ValueError(
                f"encoder.sound.f_max={self.highest:g} must be above f_min={self.f_min:g} and at most half of "
                f"sample_rate={self.sample_rate}"
            )
        if self.window > self.samples:
            raise ValueError(f"encoder.sound.window={self.window} is longer than the {self.samples} samples of a sound")
        if not _filters(self.sample_rate, self.window, self.mels, self.f_min, self.highest).any(dim=0).all():
            raise ValueError(
                f"encoder.sound.mels={self.mels} are more bands than window={self.window} can tell apart: take fewer, "
                "or a longer window"
            )

    @property
    def highest(self) -> float:
        """The highest frequency, in Hz."""
        return self.sample_rate / 2 if self.f_max is None else self.f_max

    @property
    def samples(self) -> int:
        """A sound's length."""
        return round(self.seconds * self.sample_rate)

    @property
    def frames(self) -> int:
        """A picture's width."""
        return self.samples // self.hop + 1

    def __call__(self, path: str | Path) -> Tensor:
        """A file -> (channels, mels, frames). Raises as `read_sound`."""
        return self.spectrogram(self.read(path))

    def read(self, path: str | Path) -> Tensor:
        """A file -> its waveform (samples,) float32. Raises as `read_sound`."""
        waveform = read_sound(path, self.sample_rate, self.seconds, self.crop)
        return torch.from_numpy(fill(waveform, self.samples, self.short))

    def spectrogram(self, waveforms: Tensor) -> Tensor:
        """Waveforms (..., samples), on any device -> pictures (..., channels, mels, frames)."""
        window = torch.hann_window(self.window, device=waveforms.device)
        flat = waveforms.float().reshape(-1, waveforms.shape[-1])
        # Divided by the window's sum: a tone of full scale has the amplitude 1/2 at its frequency, whatever the window.
        waves = torch.stft(flat, self.window, self.hop, window=window / window.sum(), return_complex=True)
        filters = _filters(self.sample_rate, self.window, self.mels, self.f_min, self.highest).to(flat.device)
        powers = filters.T @ waves.abs().square()  # (B, mels, frames)
        decibels = 10 * powers.clamp_min(10 ** (self.floor_db / 10)).log10()
        pictures = ((decibels - self.mean_db) / self.std_db)[:, None].expand(-1, self.channels, -1, -1)
        return pictures.reshape(*waveforms.shape[:-1], *pictures.shape[1:])

    def to_json(self) -> dict[str, Any]:
        """All options; `LogMel(**content)` reads them back."""
        return asdict(self)  # pyright: ignore[reportArgumentType]

    def save(self, folder: str | Path) -> None:
        """Write the options beside a model that was trained with them."""
        write_json(Path(folder) / MEL_FILE, self.to_json())


def model_mel(folder: Path | None, options: Mapping[str, Any] | None, choice: str) -> LogMel | None:
    """The spectrograms that a model reads: those of its folder, else those of `options`; None for a model of pictures.

    Args:
        folder: the model's, if it has one.
        options: of the config or of a description.
        choice: names the model in messages.

    Raises:
        ValueError: an option is out of range, or differs from the folder's.
    """
    asked = None if options is None else LogMel(**options)
    if folder is None or not (folder / MEL_FILE).is_file():
        return asked
    trained = LogMel(**json.loads((folder / MEL_FILE).read_text(encoding="utf-8")))
    for name, value in (options or {}).items():
        if value != (there := trained.to_json()[name]):
            raise ValueError(
                f"encoder.sound.{name}={value} is not what {choice} was trained with ({there}, in {MEL_FILE}): leave "
                "encoder.sound out"
            )
    return trained


@cache
def _filters(sample_rate: int, window: int, mels: int, low: float, high: float) -> Tensor:
    """(window // 2 + 1, mels): each band's weights of the frequencies, triangles of height 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of empty bands, which are an error here
        bank = mel_filter_bank(window // 2 + 1, mels, low, high, sample_rate, norm=None, mel_scale="slaney")
    return torch.from_numpy(bank).float()
