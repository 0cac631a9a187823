"""What a visitor's file is shown as: inside the page itself, so that no file is kept for it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embedding_space.media import Medium
from evaluation.reports.example import Example
from evaluation.reports.previews import data_uri, shown, sound_source

SIDE = 512  # pixels of the longer side


@dataclass(frozen=True)
class Preview:
    """A small copy of a file: a picture, a film strip or a spectrogram.

    Attributes:
        source: of the picture, a `data:` address.
        width, height: in pixels.
        sound: the sound itself, likewise, where browsers play it and it is not too large.
    """

    source: str
    width: int
    height: int
    sound: str | None = None


def preview(path: Path, medium: Medium) -> Preview:
    """The picture, upright and small; frames of a video; a sound's spectrogram and the sound.

    Raises:
        ValueError: the file cannot be read.
        ImportError: PyAV is not installed.
    """
    example = Example(path, "", [], medium=medium)
    picture = of_picture(shown(example, SIDE))
    sound = sound_source(example) if medium == "sound" else None
    return Preview(picture.source, picture.width, picture.height, sound)


def of_picture(picture: Image.Image, drawn: bool = False) -> Preview:
    """A picture as JPEG, or as PNG for drawn ones, which JPEG would blur."""
    file = io.BytesIO()
    picture.save(file, **({"format": "PNG"} if drawn else {"format": "JPEG", "quality": 85}))
    return Preview(data_uri(file.getvalue(), "image/png" if drawn else "image/jpeg"), *picture.size)
