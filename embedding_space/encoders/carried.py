"""An encoder of one's own whose files go with a captioner, so that the captioner's folder can be shared alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.paths import PRETRAINED, find_local_folder
from embedding_space.encoders.identity import LOCAL_DIR, NESTED

INSIDE = "checkpoint:"  # how a path inside the captioner's folder begins
FOLDER = "encoder"
FILES = ("*.json", "*.safetensors", "*.txt")  # of a model: configuration, weights, words
SHIPPED = ("demo_clap", "demo_clip", "demo_video_clip", "photos/clip")  # encoders in pretrained/ of every checkout


def carry_files(description: Mapping[str, Any], to: Path) -> dict[str, Any]:
    """Copy the encoder's own files into a captioner's folder; files that the repository ships are left where they are.

    Returns:
        The description with the copies' places, as `placed` reads it.
    """

    def carry(name: str) -> str:
        path = find_local_folder(name)
        if not path.exists():
            return name  # a package's, or missing
        for shipped in SHIPPED:
            if path.resolve() == (PRETRAINED / shipped).resolve():
                return f"{PRETRAINED.name}/{shipped}"
        target = to / FOLDER
        target.mkdir(parents=True, exist_ok=True)
        for file in [path] if path.is_file() else sorted(file for end in FILES for file in path.glob(end)):
            if file.resolve() != (target / file.name).resolve():
                shutil.copyfile(file, target / file.name)
        return f"{INSIDE}{FOLDER}/{path.name}" if path.is_file() else f"{INSIDE}{FOLDER}"

    return _with_paths(description, carry)


def placed(description: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The description with full paths of what is inside a captioner's folder."""
    return _with_paths(
        description, lambda name: str(folder / name.removeprefix(INSIDE)) if name.startswith(INSIDE) else name
    )


def _with_paths(description: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    changed = dict(description)
    if isinstance(heads := changed.get("heads"), str):
        changed["heads"] = change(heads)
    weights = changed.get("pretrained")
    if isinstance(weights, str) and (weights.startswith(INSIDE) or Path(weights).is_file()):  # no tag of open_clip
        changed["pretrained"] = change(weights)
    model = changed.get("model")
    if isinstance(model, str) and model.startswith(LOCAL_DIR):
        changed["model"] = LOCAL_DIR + change(model.removeprefix(LOCAL_DIR))
    if isinstance(changed.get(NESTED), Mapping):
        changed[NESTED] = _with_paths(changed[NESTED], change)
    return changed
