"""Captioners that search words or captions with images' own rows, which must be in the space of their texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.chain import Alignment


def check_same_space(chain: Alignment, encoder: Mapping[str, Any]) -> None:
    """Raise ValueError where the images that go through `chain` are of another space than the texts.

    encoder: the description of the texts' encoder.
    """
    if not chain.reads_rows_of(encoder):
        raise ValueError(
            "Words and captions are searched with the images' own rows (by parts=... or a PCM-Net's concepts), which "
            "images of another encoder's space do not have, even when they are translated: leave the translation out "
            "(translation=... or alignment=modality_translation)"
        )
