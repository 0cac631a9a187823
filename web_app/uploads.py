"""Files of visitors: checked before models read them, and deleted whatever happens."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from common.characters import one_line, whole_characters
from embedding_space.media import ENDINGS, GIF, NAMES, Medium, has_medium, medium_of
from embedding_space.streams import open_stream

MEBIBYTE = 2**20
# Pillow's names of the formats that are read: those of cameras and the web. Others hold pictures of another size than
# their header says, or start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM")
NAME_LENGTH = 80  # of a visitor's file, in messages


@dataclass(frozen=True)
class Limits:
    """How large uploads may be.

    Attributes:
        upload_mb: of one file of the page, or of one request, in MiB.
        megapixels: of a picture or of a video's frames; a small file may hold a huge one.
        files: of one request.
        seconds: of a sound or a video.
        video_megapixels: of all frames of a video together.
    """

    upload_mb: int = 20
    megapixels: int = 50
    files: int = 32
    seconds: int = 600
    video_megapixels: int = 20_000

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


def is_below(path: str | Path, folder: Path) -> bool:
    """Whether an absolute path leads to something in a folder, links and `..` followed. An address leads nowhere."""
    try:
        real = Path(os.path.realpath(path))
    except (ValueError, OSError):  # characters that no path has
        return False
    return Path(path).is_absolute() and Path(os.path.realpath(folder)) in real.parents


def known_ending(name: str, medium: Medium) -> str:
    """The ending of a visitor's name of a file, in small letters; nothing where the medium has no such ending."""
    ending = Path(name.replace("\\", "/").rpartition("/")[2]).suffix.lower()
    return ending if ending in ENDINGS[medium] or (medium == "video" and ending == GIF) else ""


@contextmanager
def temporary_files(uploads: Sequence[Upload], medium: Medium) -> Iterator[list[Path]]:
    """Files of the uploads, under names of ours, which are gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="upload_") as folder:
        paths = []
        for number, upload in enumerate(uploads):
            path = Path(folder) / f"{number:04d}{known_ending(upload.name, medium)}"
            path.write_bytes(upload.content)
            paths.append(path)
        yield paths


def check_upload(path: Path, name: str, medium: Medium, limits: Limits) -> None:
    """Refuse a file by its name, size and headers; of a picture that passes these, by its pixels, too.

    Raises:
        ValueError: it is of another medium by its name's ending, larger than the limits, or cannot be read.
        FileNotFoundError: it is gone.
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
    if medium == "image":
        _check_picture(path, label, limits)
    else:
        with renamed(path, label):
            _check_stream(path, label, medium, limits)


def known_formats() -> list[str]:
    """Those of `FORMATS` that this Pillow reads: before 11.3, it has no AVIF."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_picture(path: Path, label: str, limits: Limits) -> None:
    try:
        with Image.open(path, formats=known_formats()) as opened:
            _check_pixels(opened.width * opened.height, label, limits)
            with Image.open(path) as read:  # the reader asks all formats, and their order is not ours
                if read.format not in (*FORMATS, "MPO"):  # MPO: a JPEG with more pictures behind it
                    raise UnidentifiedImageError
            opened.load()
            _check_pixels(opened.width * opened.height, label, limits)  # a header may say less than there is
    except (TooManyPixels, FileNotFoundError):
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(f"{label} has too many pixels: make it smaller") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{label} is no picture that can be read: save it as JPEG or PNG") from error
    except Exception as error:  # a damaged file makes the decoders fail in any way
        raise ValueError(f"{label} cannot be read as a picture: {one_line(error)}") from error


class TooManyPixels(ValueError):
    """A picture or a video's frames are larger than `Limits.megapixels`."""


def _check_pixels(pixels: int, label: str, limits: Limits) -> None:
    if pixels > limits.megapixels * 1_000_000:
        raise TooManyPixels(
            f"{label} has {pixels / 1e6:.0f} million pixels, and max_megapixels={limits.megapixels} is the limit: "
            "make it smaller"
        )


def _check_stream(path: Path, label: str, medium: Medium, limits: Limits) -> None:
    """Refuse a sound or a video that is too long, by all its packets: its header may say less than there is."""
    with open_stream(path, "video" if medium == "video" else "audio") as (container, stream):
        pixels = stream.width * stream.height if medium == "video" else 0
        packets, seconds = _length(container, stream)
    if medium == "video" and pixels == 0:
        raise ValueError(f"{label} does not say how large its frames are: save it as MP4")
    _check_pixels(pixels, label, limits)
    if packets == 0 or (medium == "sound" and seconds == 0):
        raise ValueError(f"{label} cannot be read as a {medium}: it is empty, or does not say how long it is")
    if seconds > limits.seconds:
        raise ValueError(f"{label} has {seconds:.0f} seconds, and {limits.seconds} are the limit: shorten it")
    if packets * pixels > limits.video_megapixels * 1_000_000:
        raise ValueError(
            f"{label} has {packets:,} frames of {pixels:,} pixels, and {limits.video_megapixels:,} million in all "
            "are the limit: shorten it, or make its frames smaller"
        )


def _length(container: Any, stream: Any) -> tuple[int, float]:
    """How many packets a stream has, and how many seconds: from its first to its last time, or their durations' sum."""
    packets = total = 0
    begin = end = None
    for packet in container.demux(stream):
        packets += packet.size > 0
        total += packet.duration or 0
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            begin = time if begin is None else min(begin, time)
            end = max(time if end is None else end, time + (packet.duration or 0))
    return packets, float(max(total, (end or 0) - (begin or 0)) * (stream.time_base or 0))


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
