"""Pairs of spectrograms and tokens on the device: decoded and tokenized once, augmented at each step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from contrastive.caption_tokens import caption_tokens
from contrastive.pairs import Pairs
from contrastive.picture_pairs import read_all, shift
from embedding_space.mel import LogMel
from embedding_space.tables import Tables
from training.batches import StepRandom


class SoundPairs(Pairs):
    """Log-mel spectrograms and tokens, for towers that learn.

    Args:
        context_length: tokens; longer captions are cut, with a warning that counts them.
        mel: how sounds are read.
        shift_frames: the greatest shift of training sounds, either way in time. The border is repeated.
        gain_db: the greatest change of a training sound's loudness, either way.
        mask_mels: the most neighboring bands of a training sound that are made silent (SpecAugment, arXiv 1904.08779).
            Stretches of time are never masked: captions say how often a sound is heard.

    Attributes:
        spectrograms: (N, mels, frames) float16.
        tokens: (M, T) int64.
    """

    def __init__(
        self,
        tables: Tables,
        split: str,
        device: torch.device,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int,
        mel: LogMel,
        shift_frames: int,
        gain_db: float,
        mask_mels: int,
    ):
        super().__init__(tables, split, device)
        self.mel, self.shift_frames, self.gain_db, self.mask_mels = mel, shift_frames, gain_db, mask_mels
        self.tokens = caption_tokens(tokenizer, self.captions, context_length, split).to(device)
        paths = tables.image_paths(self.image_rows)
        self.spectrograms = read_all(paths, ReadSound(mel), f"read {split} sounds").to(device)

    def draw(self, pictures: Tensor, random: StepRandom) -> tuple[Tensor, Tensor]:
        sounds = self.spectrograms[pictures].float()[:, None]
        if self.shift_frames:
            along = random.integers(2 * self.shift_frames + 1) - self.shift_frames
            sounds = shift(sounds, along, torch.zeros_like(along))
        sounds = louder(sounds, self.gain_db * (2 * random.integers(1001) / 1000 - 1), self.mel)
        if self.mask_mels:
            width = random.integers(self.mask_mels + 1)
            sounds = without_bands(sounds, random.integers(self.mel.mels), width, self.mel)
        return self._channels(sounds), self.tokens[self.choose_captions(pictures, random)]

    def encode(self, model: Any) -> tuple[Tensor, Tensor]:
        parts = self.spectrograms.split(256)
        images = torch.cat([model.encode_image(self._channels(part.float()[:, None])).float() for part in parts])
        return images, torch.cat([model.encode_text(part).float() for part in self.tokens.split(1024)])

    def _channels(self, sounds: Tensor) -> Tensor:
        return sounds.expand(-1, self.mel.channels, -1, -1)


@dataclass(frozen=True)
class ReadSound:
    """A sound file -> (mels, frames) float16: one channel of its spectrogram."""

    mel: LogMel

    def __call__(self, path: Path) -> np.ndarray:
        return self.mel(path)[0].half().numpy()


def silence(mel: LogMel) -> float:
    """The value that a spectrogram has where nothing is heard, as it is kept in half precision."""
    return float(np.float16((mel.floor_db - mel.mean_db) / mel.std_db))


def louder(sounds: Tensor, gain_db: Tensor, mel: LogMel) -> Tensor:
    """Spectrograms (B, 1, mels, frames) made louder by (B,) decibels; where nothing is heard, nothing is."""
    changed = sounds + (gain_db / mel.std_db).view(-1, 1, 1, 1)
    return torch.where(sounds > silence(mel), changed.clamp(min=silence(mel)), sounds)


def without_bands(sounds: Tensor, first: Tensor, count: Tensor, mel: LogMel) -> Tensor:
    """Spectrograms (B, 1, mels, frames), each with `count` (B,) bands from `first` (B,) on made silent."""
    band = torch.arange(mel.mels, device=sounds.device)
    masked = (band >= first[:, None]) & (band < (first + count)[:, None])  # (B, mels)
    return sounds.masked_fill(masked[:, None, :, None], silence(mel))
