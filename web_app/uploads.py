"""Files of visitors: checked before they are decoded, read, and deleted whatever happens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from common.characters import one_line, whole_characters
from embedding_space.media import ENDINGS, GIF, NAMES, Medium, has_medium, medium_of
from embedding_space.streams import open_stream

MEBIBYTE = 2**20
NAME_LENGTH = 80  # of a visitor's file, in messages


@dataclass(frozen=True)
class Limits:
    """How large uploads may be.

    Attributes:
        upload_mb: of one file of the page, or of one request, in MiB.
        megapixels: of a picture or of a video's frames; a small file may hold a huge one.
        files: of one request.
    """

    upload_mb: int = 20
    megapixels: int = 50
    files: int = 32

    @property
    def upload_bytes(self) -> int:
        return self.upload_mb * MEBIBYTE


@dataclass(frozen=True)
class Upload:
    """A visitor's file: its name, of which only the ending is used, and its content."""

    name: str
    content: bytes

    @property
    def label(self) -> str:
        """The name for messages: without folders, on one line."""
        return shown_name(self.name)


def shown_name(name: str) -> str:
    """A visitor's name of a file for messages: without folders, on one line, of a bounded length."""
    return one_line(whole_characters(name).replace("\\", "/").rpartition("/")[2], NAME_LENGTH) or "the file"


@contextmanager
def temporary_files(uploads: Sequence[Upload], medium: Medium) -> Iterator[list[Path]]:
    """Files of the uploads, under names of ours, which are gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="upload_") as folder:
        paths = []
        for number, upload in enumerate(uploads):
            ending = Path(upload.label).suffix.lower()
            known = ending in ENDINGS[medium] or (medium == "video" and ending == GIF)
            path = Path(folder) / f"{number:04d}{ending if known else ''}"
            path.write_bytes(upload.content)
            paths.append(path)
        yield paths


def check_upload(path: Path, name: str, medium: Medium, limits: Limits) -> None:
    """Refuse a file before anything of it is decoded.

    Raises:
        ValueError: it is of another medium by its name's ending, larger than the limits, or cannot be read.
    """
    label, its = shown_name(name), medium_of(name)
    if its is not None and not has_medium(name, medium):
        raise ValueError(f"{label} is one of the {NAMES[its]} by its name, and this checkpoint reads {NAMES[medium]}")
    if (size := path.stat().st_size) > limits.upload_bytes:
        raise ValueError(
            f"{label} has {size / MEBIBYTE:.1f} MiB, and max_upload_mb={limits.upload_mb} is the limit: make it smaller"
        )
    if size == 0:
        raise ValueError(f"{label} is empty")
    pixels = 0
    if medium == "image" or (medium == "video" and its == "image"):
        pixels = _picture_pixels(path, label)
    elif medium == "video":
        with renamed(path, label), open_stream(path, "video") as (_, stream):
            pixels = stream.width * stream.height
    if pixels > limits.megapixels * 1_000_000:
        raise ValueError(
            f"{label} has {pixels / 1e6:.0f} million pixels, and max_megapixels={limits.megapixels} is the limit: "
            "make it smaller"
        )


def _picture_pixels(path: Path, label: str) -> int:
    """Width times height, by the file's header alone."""
    try:
        with Image.open(path) as opened:
            return opened.width * opened.height
    except Image.DecompressionBombError as error:
        raise ValueError(f"{label} has too many pixels: make it smaller") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{label} is no picture that can be read: save it as JPEG or PNG") from error
    except Exception as error:  # a damaged file makes the decoders fail in any way
        raise ValueError(f"{label} cannot be read as a picture: {one_line(error)}") from error


@contextmanager
def renamed(path: Path, label: str) -> Iterator[None]:
    """Errors within the block name the visitor's file, and not where it was for a moment."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(in_its_name(str(error), path, label)) from error


def in_its_name(reason: str, path: Path, label: str) -> str:
    """A reason with the visitor's name of the file in the place of ours."""
    return reason.replace(str(path), label)
