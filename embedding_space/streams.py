"""Opening the sound or the pictures of a media file by PyAV, the same way for sounds and for videos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.characters import one_line
from common.extras import require
from common.warn import warn_once

if TYPE_CHECKING:
    from av.container import InputContainer

TRACKS = {"audio": ("sound", "sound track"), "video": ("video", "pictures")}
GUESSED = ("mpeg",)  # formats that state no length and whose length FFmpeg guesses badly
LATE_SECONDS = 1.0  # by so much the length that a file states may be wrong without a warning


@contextmanager
def open_stream(path: str | Path, kind: Literal["audio", "video"]) -> Iterator[tuple[InputContainer, Any]]:
    """A media file's first stream of a kind, with its container. The cover of a piece of music is no video.

    Errors inside the `with` block become those of this function, so that a damaged file may fail in any way.

    Raises:
        ValueError: the file is no media file, is damaged, or has no such stream.
        FileNotFoundError: there is no such file.
        ImportError: PyAV is not installed.
    """
    require("av")
    import av  # imported here: most commands need none
    from av.error import FFmpegError
    from av.stream import Disposition

    medium, track = TRACKS[kind]
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no {medium} {path}")
    try:
        # With "file:", a name that looks like an address is a name.
        with av.open(f"file:{path}", **_titles(av.__version__)) as container:
            streams = [s for s in getattr(container.streams, kind) if not s.disposition & Disposition.attached_pic]
            if not streams:
                raise ValueError(f"it has no {track}")
            streams[0].codec_context.thread_count = 1  # the workers are what runs side by side
            yield container, streams[0]
    except Exception as error:
        reason = "it is damaged, or no media file" if isinstance(error, FFmpegError) else one_line(error)
        raise ValueError(f"{path} cannot be read as a {medium}: {reason}") from error


def _titles(version: str) -> dict[str, Any]:
    """Options of `av.open`. Titles of songs need not be UTF-8, which PyAV before 19 must be told."""
    return {"metadata_errors": "replace"} if int(version.split(".")[0]) < 19 else {}


def decode(container: InputContainer, stream: Any) -> Iterator[Any]:
    """The stream's frames from where the container is, without what is damaged, which FFmpeg's tools skip, too."""
    from av.error import FFmpegError

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except FFmpegError:
            continue


def time_of(frame: Any) -> Fraction:
    """When a frame begins, in seconds. Raises ValueError where its file does not say it."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    if stamp is None or frame.time_base is None:
        raise ValueError("its frames have no times: ffmpeg -i FILE -c copy FILE.mkv gives it some")
    return stamp * frame.time_base


def span(container: InputContainer, stream: Any) -> tuple[Fraction, Fraction]:
    """When the stream begins and ends, in seconds, as the file's headers say, else as `scan_span`."""
    begin = (stream.start_time or 0) * stream.time_base
    if container.format.name in GUESSED:
        return scan_span(container, stream)
    if stream.duration:
        return begin, begin + stream.duration * stream.time_base
    if (written := _seconds(stream.metadata.get("DURATION", ""))) is not None:  # Matroska's, of one stream
        return begin, written
    if container.duration:
        return begin, Fraction(container.duration + (container.start_time or 0), 1_000_000)
    return scan_span(container, stream)


def _seconds(clock: str) -> Fraction | None:
    try:
        hours, minutes, seconds = map(Fraction, clock.strip("\0 ").split(":"))
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


def scan_span(container: InputContainer, stream: Any) -> tuple[Fraction, Fraction]:
    """When the stream really begins and ends, in seconds, by its packets: the file is read, and nothing decoded.

    It goes back to the beginning before and after that.
    """
    rewind(container)
    begin = end = None
    for packet in container.demux(stream):
        if packet.pts is not None:
            begin = packet.pts if begin is None else min(begin, packet.pts)
            end = max(end or 0, packet.pts + (packet.duration or 0))
    if begin is None or end is None:
        raise ValueError("it is empty")
    rewind(container)
    return begin * stream.time_base, end * stream.time_base


def seek(container: InputContainer, stream: Any, time: Fraction) -> None:
    """Go to a key frame before a time; to the beginning where no index leads there."""
    from av.error import FFmpegError

    try:
        container.seek(int(time / stream.time_base), stream=stream)
    except FFmpegError:
        rewind(container)


def rewind(container: InputContainer) -> None:
    """Go back to the beginning, before the first packet."""
    container.seek(min(0, container.start_time or 0))


def warn_of_end(path: str | Path, stated: Fraction, end: Fraction) -> None:
    """Warn of a file that ends long before its stated end: it is read as far as it goes."""
    if stated - end > LATE_SECONDS:
        warn_once(f"{path} ends after {float(end):.1f} of {float(stated):.1f} s: is it cut off? It is read up to there")
