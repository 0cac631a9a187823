"""Which part of a picture an encoder sees, by the encoder's description alone: nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from common.paths import find_local_folder
from embedding_space.encoders.identity import LOCAL_DIR

# The middle, as a square; all of it, made a square; all of it, with a border that makes it one.
Fit = Literal["crop", "squash", "pad"]
OPEN_CLIP_FITS: dict[str, Fit] = {"shortest": "crop", "squash": "squash", "longest": "pad"}


def picture_fit(description: Mapping[str, Any]) -> Fit:
    """How the encoder of an `Encoder.description` makes pictures squares: `crop`, CLIP's way, where nothing says it."""
    if "of" in description:  # each frame of a video
        return picture_fit(description["of"])
    if description.get("kind") == "towers":
        tower = description.get("image_tower") or _read(description["heads"], "config.json").get("image_tower", {})
        return "squash" if tower.get("resize") == "squash" else "crop"
    model, pretrained = str(description.get("model", "")), description.get("pretrained")
    if model.startswith(LOCAL_DIR):
        way = _read(model.removeprefix(LOCAL_DIR), "open_clip_config.json").get("preprocess_cfg", {})
    else:
        from open_clip import get_pretrained_cfg  # imported here: it brings torchvision and timm

        way = get_pretrained_cfg(model, str(pretrained)) or {}
    return OPEN_CLIP_FITS.get(str(way.get("resize_mode")), "crop")


def fitted_box(fit: Fit, width: float, height: float) -> tuple[float, float, float, float]:
    """Left, top, width and height of the square that the encoder sees, in the picture's own units.

    A border of `pad` is outside the picture.
    """
    if fit == "squash":
        return 0.0, 0.0, width, height
    side = min(width, height) if fit == "crop" else max(width, height)
    return (width - side) / 2, (height - side) / 2, side, side


def _read(folder: str | Path, name: str) -> dict[str, Any]:
    path = find_local_folder(folder) / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
