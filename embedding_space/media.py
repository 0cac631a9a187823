"""The media that encoders read, and the endings by which their files are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

Medium = Literal["image", "sound", "video"]
MEDIA: tuple[Medium, ...] = ("image", "sound", "video")
NAMES: Mapping[Medium, str] = {"image": "pictures", "sound": "sounds", "video": "videos"}  # of their files, in messages
ENDINGS: Mapping[Medium, tuple[str, ...]] = {
    "image": (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    "sound": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".aif", ".aiff"),
    "video": (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".ogv"),
}


def medium_of(path: str | Path) -> Medium | None:
    """The medium of a file by its name's ending, whatever its case; None for any other file."""
    ending = Path(path).suffix.lower()
    return next((medium for medium in MEDIA if ending in ENDINGS[medium]), None)


def sort_by_medium(paths: Iterable[Path]) -> dict[Medium | None, list[Path]]:
    """{medium, None for other files: its files}, each in the order of `paths`."""
    files: dict[Medium | None, list[Path]] = {}
    for path in paths:
        files.setdefault(medium_of(path), []).append(path)
    return files
