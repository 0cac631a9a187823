"""Waveforms out of sound files and out of videos' sound tracks: mono, at one rate, of one length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from embedding_space.streams import decode, open_stream, rewind, scan_span, seek, span, time_of, warn_of_end

Crop = Literal["start", "middle"]
Short = Literal["repeat", "repeat_pad", "pad"]
# Decoders of MP3, AAC and Opus need some packets before the first right one: Opus 80 ms (RFC 7845, section 4.6).
BEFORE_SECONDS = 1


def read_sound(path: str | Path, sample_rate: int, seconds: float, crop: Crop = "middle") -> np.ndarray:
    """A sound's waveform, the mean of its channels, (S,) float32; full scale is -1 ... 1.

    At most `seconds` of it are read, from its start or its middle: a file of hours takes no more memory or time. A file
    that ends before its header says is read as far as it goes, with a warning; damaged parts are passed over.

    Args:
        path: a file of any format that FFmpeg knows; of a video, its first sound track.
        sample_rate: in Hz, to which the sound is resampled.
        seconds: the most that is read; a shorter sound is read whole, see `fill`.

    Raises:
        ValueError: the file has no sound, or is damaged beyond that.
        FileNotFoundError: there is no such file.
        ImportError: PyAV is not installed.
    """
    samples = round(seconds * sample_rate)
    with open_stream(path, "audio") as (container, stream):
        if crop == "start":
            return _waveform(container, stream, sample_rate, None, samples)
        begin, end = span(container, stream)
        start = begin + (end - begin - Fraction(seconds)) / 2
        if start <= begin:
            return _waveform(container, stream, sample_rate, None, samples)
        waveform = _waveform(container, stream, sample_rate, start, samples)
        if len(waveform) < samples:
            stated, (begin, end) = end, scan_span(container, stream)
            warn_of_end(path, stated, end)
            start = begin + (end - begin - Fraction(seconds)) / 2
            waveform = _waveform(container, stream, sample_rate, max(start, begin), samples)
    if not len(waveform):
        raise ValueError("nothing can be decoded from its middle on")
    return waveform


def fill(waveform: np.ndarray, samples: int, short: Short) -> np.ndarray:
    """A waveform (S,) with S at most `samples` -> (samples,).

    Args:
        short: what follows a short sound: "repeat": itself, again and again; "repeat_pad": itself as often as it fits
            whole, then silence; "pad": silence. CLAP's names are repeat, repeatpad and pad.
    """
    if short != "pad":
        times = samples / len(waveform)
        waveform = np.tile(waveform, math.ceil(times) if short == "repeat" else int(times))[:samples]
    return np.pad(waveform, (0, samples - len(waveform)))


def _waveform(container: Any, stream: Any, sample_rate: int, start: Fraction | None, samples: int) -> np.ndarray:
    """At most `samples` samples from `start`, in seconds; from the first one where that is None."""
    if start is not None:
        seek(container, stream, start - BEFORE_SECONDS)
    frames = decode(container, stream)
    first = next(frames, None)
    if start is not None and (first is None or time_of(first) > start):
        rewind(container)
        frames = decode(container, stream)
        first = next(frames, None)
    if first is None:
        raise ValueError("it is empty")
    skip = 0 if start is None else round((start - time_of(first)) * sample_rate)
    parts: list[np.ndarray] = []
    missing = samples
    for part in _mono(chain([first], frames), sample_rate):
        kept = part[skip : skip + missing]
        skip -= min(skip, len(part))
        parts.append(kept)
        missing -= len(kept)
        if not missing:
            break
    return np.concatenate(parts)


def _mono(frames: Iterable[Any], sample_rate: int) -> Iterator[np.ndarray]:
    """The frames' samples at another rate, (S,) float32 each, the mean of all channels."""
    import av  # imported here: most commands need none

    resampler = av.AudioResampler(format="fltp", rate=sample_rate)
    for frame in chain(frames, [None]):  # None: what the resampler still holds
        for part in resampler.resample(frame):
            yield part.to_ndarray().mean(axis=0)
