"""The media that encoders read, and the endings by which their files are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Medium = Literal["image", "sound", "video"]
MEDIA: tuple[Medium, ...] = ("image", "sound", "video")
NAMES: Mapping[Medium, str] = {"image": "pictures", "sound": "sounds", "video": "videos"}  # of their files, in messages
ENDINGS: Mapping[Medium, tuple[str, ...]] = {
    "image": (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".ppm"),
    "sound": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".aif", ".aiff"),
    "video": (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".ogv"),
}

GIF = ".gif"


@dataclass(frozen=True)
class Packed:
    """A file that is inside another one, such as a tar.

    name: that it goes by in messages, with its ending where that is known.
    """

    name: str
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name


def medium_of(path: str | Path) -> Medium | None:
    """The medium of a file by its name's ending, whatever its case; None for any other file."""
    ending = Path(path).suffix.lower()
    return next((medium for medium in MEDIA if ending in ENDINGS[medium]), None)


def has_medium(path: str | Path, medium: Medium) -> bool:
    """Whether a file is of a medium by its name's ending. A GIF is a picture and a video."""
    return medium_of(path) == medium or (medium == "video" and Path(path).suffix.lower() == GIF)


def media_files(folder: Path, medium: Medium) -> list[Path]:
    """The files of a medium in a folder and its subfolders, by name, without macOS's `._` companions of them; links
    that lead nowhere are among them."""
    return sorted(
        path
        for path in folder.rglob("*")
        if has_medium(path, medium) and not path.name.startswith("._") and not path.is_dir()
    )
