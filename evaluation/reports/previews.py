"""What a page shows of a row: a picture, a video's film strip, a sound's spectrogram and the sound itself."""

from __future__ import annotations

import base64
import math
from pathlib import Path

import torch
from PIL import Image

from embedding_space.pictures import open_picture
from embedding_space.sounds import fill, read_sound
from embedding_space.videos import read_frames
from evaluation.reports.example import Example

SOUND_BYTES = 1_000_000  # of a file that a page holds
SOUND_TYPES = {  # of the files that browsers play
    ".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg",
    ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".mp4": "audio/mp4", ".aac": "audio/aac", ".webm": "audio/webm",
}  # fmt: skip
SPECTROGRAM_SECONDS = 10.0  # at most
SHORTEST_SECONDS = 0.5  # shorter sounds have silence after them
COLUMNS, GAP = 3, 2  # frames beside each other, and pixels between them


def thumbnail(example: Example, side: int) -> Image.Image | None:
    """As `shown`; None when the file cannot be read."""
    try:
        return shown(example, side)
    except (FileNotFoundError, ValueError, ImportError):
        return None


def shown(example: Example, side: int) -> Image.Image:
    """The row as a picture.

    Args:
        side: the most pixels of a picture's longer side; half of it of a film strip's frames; of a spectrogram's width.

    Raises:
        ValueError: the file cannot be read.
        FileNotFoundError: it is missing.
        ImportError: PyAV is not installed.
    """
    if example.medium == "video":
        return _film_strip(example.image_path, example.frames, side // 2)
    if example.medium == "sound":
        return _spectrogram(example.image_path, side)
    picture = open_picture(example.image_path)
    picture.thumbnail((side, side))
    return picture


def sound_source(example: Example) -> str | None:
    """A sound's file as a data URI for <audio>; None where browsers do not play it, or it is larger than
    `SOUND_BYTES`."""
    path = Path(example.image_path)
    media_type = SOUND_TYPES.get(path.suffix.lower())
    if media_type is None or path.stat().st_size > SOUND_BYTES:
        return None
    return data_uri(path.read_bytes(), media_type)


def data_uri(content: bytes, media_type: str) -> str:
    """The address of a file that a page holds itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _film_strip(path: str | Path, count: int, side: int) -> Image.Image:
    """The frames that the encoder reads, in rows."""
    frames = read_frames(path, count)
    for frame in frames:
        frame.thumbnail((side, side))
    width, height = (pixels + GAP for pixels in frames[0].size)
    columns, rows = min(count, COLUMNS), math.ceil(count / COLUMNS)
    strip = Image.new("RGB", (columns * width - GAP, rows * height - GAP), "white")
    for number, frame in enumerate(frames):
        row, column = divmod(number, COLUMNS)
        strip.paste(frame, (column * width, row * height))
    return strip


def _spectrogram(path: str | Path, side: int) -> Image.Image:
    """The first seconds of a sound, low tones at the bottom, loud ones dark."""
    from embedding_space.mel import LogMel  # imported here: it brings transformers

    mel = LogMel(mean_db=0.0, std_db=80.0, channels=1)
    waveform = read_sound(path, mel.sample_rate, SPECTROGRAM_SECONDS, "start")
    samples = max(len(waveform), round(SHORTEST_SECONDS * mel.sample_rate))
    picture = mel.spectrogram(torch.from_numpy(fill(waveform, samples, "pad")))[0]
    shades = (-255 * picture.clamp(-1, 0)).byte().flip(0)  # 80 dB below full scale is white
    return Image.fromarray(shades.numpy()).convert("RGB").resize((side, side // 3))
