"""A row of a gallery: what was captioned, with its captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedding_space.media import Medium
from embedding_space.videos import FRAMES
from evaluation.captions.patch_selection import PatchSelection


@dataclass(frozen=True)
class Example:
    """A picture with its reference captions and each method's caption, score and selected patches, {method: …}.

    Attributes:
        medium: what the file is; "sound" or "video" in the place of a picture.
        frames: how many of a video the encoder reads.
    """

    image_path: str | Path
    image_id: str
    references: Sequence[str]
    captions: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    patches: Mapping[str, PatchSelection] = field(default_factory=dict)
    medium: Medium = "image"
    frames: int = FRAMES
