"""Writing frames as an MP4 file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FRAMES_PER_SECOND = 4
CODECS = {  # the first one that PyAV has is taken: codec -> options of high quality
    "libx264": {"crf": "14", "preset": "veryfast"},
    "mpeg4": {"qmin": "2", "qmax": "3"},
}


def video_codec() -> str:
    """The codec that videos are written with here.

    Raises:
        ImportError: PyAV is missing, or has none of `CODECS`.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError('Videos are written with PyAV, which is missing: run pip install -e ".[demo]"') from error
    for codec in CODECS:
        if codec in av.codecs_available:
            return codec
    raise ImportError(f"This PyAV has none of the codecs {', '.join(CODECS)}: install the one of PyPI (pip install av)")


def write_video(frames: np.ndarray, path: Path | str, frames_per_second: int = FRAMES_PER_SECOND) -> None:
    """Write frames (N, height, width, 3) uint8, of even height and width, as an MP4 file."""
    import av

    codec = video_codec()
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=frames_per_second, options=CODECS[codec])
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # the files do not depend on the number of cores
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
