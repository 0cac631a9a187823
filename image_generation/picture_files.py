"""Drawn pictures as files that say what they show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

from common.files import whole_file


def save_picture(picture: Image, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a PNG whole or not at all, with `facts`, such as its sentence, as the text chunks of its metadata."""
    info = PngInfo()
    for name, value in facts.items():
        info.add_itxt(name, str(value))
    with whole_file(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=info)
