"""Pictures out of video files: frames at equal distances, whatever the length, the frame rate and the container."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from embedding_space.media import ENDINGS, GIF
from embedding_space.pictures import open_picture
from embedding_space.streams import decode, open_stream, rewind, scan_span, seek, span, time_of, warn_of_end

FRAMES = 5  # of a video, as Knight (arXiv 2301.12739) and IFCap (arXiv 2409.18046)
# Of a `flow_picture`: the blur in sides, the factor that brings flows into 8 bits, and the gray of what does not move.
FLOW_BLUR, FLOW_SCALE, NO_FLOW = 1 / 32, 6, 128
# Decoding so far ahead takes as long as a seek and decoding from a key frame: encoders write one every 250 frames.
NEAR_SECONDS = 5
# These have no index of key frames: decoding begins so far before a time that one will be on the way.
WITHOUT_INDEX, BEFORE_SECONDS = ("mpegts", "mpeg"), 10


def read_frames(path: str | Path, count: int) -> list[Image.Image]:
    """`count` frames of a video as RGB pictures: of as many equal parts of its time, those shown in their middles.

    The parts are those of temporal segment networks (arXiv 1608.00859, section 3.1), of which each gives its middle, as
    usual in tests. With variable frame rates, time counts and not the frames' number. Frames repeat where there are
    fewer than `count`. A picture file is a video of one frame, an animated GIF one of its frames. Frames are turned
    the way the file says. Most of a long video is not decoded, and two frames at most are in memory.

    A file that ends before its header says is read as far as it goes, with a warning; damaged parts are passed over.

    Args:
        path: a file of any format that FFmpeg or Pillow knows.
        count: at least 1.

    Raises:
        ValueError: the file is no video or picture, is damaged beyond that, or has no frame.
        FileNotFoundError: there is no such file.
        ImportError: PyAV is not installed.
    """
    ending = Path(path).suffix.lower()
    if ending in ENDINGS["image"] and ending != GIF:
        return [open_picture(path)] * count
    with open_stream(path, "video") as (container, stream):
        begin, end = span(container, stream)
        times = middles(begin, end, count)
        frames, last = _frames_at(container, stream, times)
        if last is not None and last < times[-1]:
            warn_of_end(path, end, last)
            frames, _ = _frames_at(container, stream, middles(*scan_span(container, stream), count))
    return frames


def frame_grid(path: str | Path, count: int, side: int) -> Image.Image:
    """`count` frames of a video as one picture, in rows of the square root of `count`, rounded up.

    This is a super image (SIFAR, arXiv 2106.14104, section 3.2), in which a tower of pictures can learn to see motion.

    Args:
        side: in pixels; of each frame the central square is resized to it. Places without a frame are black.

    Raises as `read_frames`.
    """
    rows, columns = shape_of("grid", count)
    grid = Image.new("RGB", (columns * side, rows * side))
    for number, frame in enumerate(read_frames(path, count)):
        row, column = divmod(number, columns)
        grid.paste(ImageOps.fit(frame, (side, side), Image.Resampling.BICUBIC), (column * side, row * side))
    return grid


def flow_picture(path: str | Path, count: int, side: int) -> Image.Image:
    """The middle one of `count` frames, and beside it what moves where: a tower of pictures sees directions of motion.

    The square beside the frame is gray (128) where nothing happens. Red is brighter where something moves to the right,
    darker where it moves to the left; green brighter downward, darker upward; blue brighter where the last frame is
    brighter than the first, and darker where it is darker. Red and green are the signed square roots of the means over
    frames of -dI/dx dI/dt and -dI/dy dI/dt, the right-hand side of Lucas and Kanade's equations (IJCAI 1981), of gray
    values I blurred by `FLOW_BLUR` of the side. Between two frames, things should move less than they are wide.

    Args:
        count: at least 2.
        side: in pixels; of each frame the central square is resized to it.

    Raises as `read_frames`.
    """
    frames = [ImageOps.fit(frame, (side, side), Image.Resampling.BICUBIC) for frame in read_frames(path, count)]
    gray = np.stack([np.asarray(frame.convert("L"), dtype=np.float32) for frame in frames])  # (N, S, S)
    smooth = gaussian_filter(gray, (0, FLOW_BLUR * side, FLOW_BLUR * side))
    change, between = smooth[1:] - smooth[:-1], (smooth[1:] + smooth[:-1]) / 2
    down, right = np.gradient(between, axis=(1, 2))
    flows = [-(slope * change).mean(axis=0) for slope in (right, down)]
    planes = [FLOW_SCALE * np.sign(flow) * np.sqrt(np.abs(flow)) for flow in flows] + [(gray[-1] - gray[0]) / 2]
    beside = np.clip(np.round(NO_FLOW + np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)
    picture = Image.new("RGB", (2 * side, side))
    picture.paste(frames[count // 2], (0, 0))
    picture.paste(Image.fromarray(beside), (side, 0))
    return picture


PICTURES: dict[str, Callable[..., Image.Image]] = {"grid": frame_grid, "flow": flow_picture}
"""{pooling: makes one picture of a video: its file, `count` of frames, `side` in pixels}."""


def shape_of(pooling: str, count: int) -> tuple[int, int]:
    """Rows and columns of squares in one of `PICTURES`, of so many frames."""
    if pooling == "flow":
        return 1, 2
    columns = math.ceil(math.sqrt(count))
    return math.ceil(count / columns), columns


def middles(begin: Fraction, end: Fraction, count: int) -> list[Fraction]:
    """The middles of `count` equal parts of a time."""
    return [begin + (end - begin) * Fraction(2 * part + 1, 2 * count) for part in range(count)]


def _frames_at(container: Any, stream: Any, times: Sequence[Fraction]) -> tuple[list[Image.Image], Fraction | None]:
    """The frames shown at these increasing times, the first one before it begins; and the last frame's end, if it was
    reached."""
    before = BEFORE_SECONDS if container.format.name in WITHOUT_INDEX else 0
    frames = decode(container, stream)
    shown, coming = None, next(frames, None)
    pictures: list[Image.Image] = []
    for time in times:
        if coming is not None and time - time_of(coming) > NEAR_SECONDS + before:
            frames, coming = _from_key_frame(container, stream, time - before)
        while coming is not None and (shown is None or time_of(coming) <= time):
            shown, coming = coming, next(frames, None)
        if shown is None:
            raise ValueError("it has no frame")
        pictures.append(_picture(shown))
    if coming is not None or shown is None:
        return pictures, None
    return pictures, time_of(shown) + (shown.duration or 0) * shown.time_base


def _from_key_frame(container: Any, stream: Any, time: Fraction) -> tuple[Iterator[Any], Any]:
    """The frames after the last key frame before a time, and this one; or all, where no seek leads there."""
    seek(container, stream, time)
    frames = decode(container, stream)
    first = next(frames, None)
    if first is not None and time_of(first) <= time:
        return frames, first
    rewind(container)
    frames = decode(container, stream)
    return frames, next(frames, None)


def _picture(frame: Any) -> Image.Image:
    """A frame as an RGB picture, turned the way its file says, transparent parts over white."""
    if any(component.is_alpha for component in frame.format.components):
        clear = Image.fromarray(frame.to_ndarray(format="rgba"))
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    else:
        picture = frame.to_image()
    quarter_turns = round(frame.rotation / 90)  # counterclockwise
    return Image.fromarray(np.rot90(np.asarray(picture), quarter_turns)) if quarter_turns else picture
