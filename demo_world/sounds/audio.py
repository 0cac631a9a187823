"""Writing a wave as a FLAC file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demo_world.sounds.synthesis import RATE

FRAME = 4096  # samples


def require_pyav() -> None:
    """Raise ImportError where PyAV is missing."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise ImportError('Sounds are written with PyAV, which is missing: run pip install -e ".[demo]"') from error


def write_flac(wave: np.ndarray, path: Path | str, rate: int = RATE) -> None:
    """Write a wave (samples,) int16 of `rate` samples per second, one channel, as a FLAC file."""
    import av

    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono", format="s16")
        for start in range(0, len(wave), FRAME):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + FRAME], format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
