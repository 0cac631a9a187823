"""An encoder of one's own whose files go with a captioner, so that the captioner's folder can be shared alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from common.paths import PRETRAINED, find_local_folder
from embedding_space.encoders.identity import LOCAL_DIR, NESTED, TOWERS

INSIDE = "checkpoint:"  # how a path inside the captioner's folder begins
FOLDER, IMAGE_FOLDER = "encoder", "image_encoder"  # the second is that of images which a translation reads
FILES = ("*.json", "*.safetensors", "*.txt", "*.model")  # of a model: configuration, weights, words
LEFT = (
    ".*",
    "*.jsonl",
    "*.yaml",
    "*.md",
    "*.log",
    "resume.pt",
    "tensorboard",
    "wandb",
)  # what a training leaves beside
SHIPPED = ("demo_clap", "demo_clip", "demo_video_clip", "photos/clip")  # encoders in pretrained/ of every checkout


def carry_files(description: Mapping[str, Any], to: Path, folder: str = FOLDER) -> dict[str, Any]:
    """Copy the encoder's own files into a captioner's folder, each part into a sub-folder of `folder`.

    Files that the repository ships are left where they are, and so are those that the folder holds already.

    Returns:
        The description with the copies' places, as `placed` reads it.

    Raises:
        ValueError: a part holds what is not known to be needed, and nothing was copied.
    """
    copies: list[tuple[Path, Path]] = []

    def carry(name: str, part: str) -> str:
        path = find_local_folder(name)
        if not path.exists():
            return name  # a package's, or missing
        if (shipped := _shipped(path)) is not None:
            return shipped
        if path.resolve().is_relative_to(to.resolve()):
            return f"{INSIDE}{path.resolve().relative_to(to.resolve()).as_posix()}"
        target = to / folder / part
        copies.extend((file, target / file.name) for file in ([path] if path.is_file() else _files(path)))
        return INSIDE + "/".join([folder, part, *([path.name] if path.is_file() else [])])

    carried = _with_paths(description, carry)
    for place in {target.parent for _, target in copies}:
        shutil.rmtree(place, ignore_errors=True)  # of an earlier export
        place.mkdir(parents=True)
    for file, target in copies:
        shutil.copyfile(file, target)
    return carried


def missing_parts(description: Mapping[str, Any]) -> list[str]:
    """The folders of an encoder that are named and not on this machine."""
    parts: list[str] = []

    def note(name: str, part: str) -> str:
        if not find_local_folder(name).exists():
            parts.append(name)
        return name

    _with_paths(description, note)
    return parts


def placed(description: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The description with full paths of what is inside a captioner's folder."""
    return _with_paths(
        description, lambda name, _: str(folder / name.removeprefix(INSIDE)) if name.startswith(INSIDE) else name
    )


def _shipped(path: Path) -> str | None:
    """How an encoder that every checkout has is called; None for another."""
    for shipped in SHIPPED:
        if path.resolve() == (PRETRAINED / shipped).resolve():
            return f"{PRETRAINED.name}/{shipped}"
    return None


def _files(folder: Path) -> list[Path]:
    """The files of a model's folder that go with it. Raises ValueError for one that nobody can tell to be needed."""
    files = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in FILES):
            files.append(path)
        elif not any(fnmatch(path.name, pattern) for pattern in LEFT):
            raise ValueError(
                f"{path} does not go with the encoder of {folder}, of whose files {', '.join(FILES)} are exported: "
                "save weights as safetensors, without sub-folders, and move away what the encoder does not read"
            )
    return files


def _is_local(place: object, side: str) -> bool:
    """Whether a tower's weights are in a file or a folder. Other places are names, of packages or models elsewhere."""
    if not isinstance(place, str):
        return False
    there = Path(place).is_file() if side == "image_tower" else find_local_folder(place).is_dir()
    return place.startswith(INSIDE) or there


def _with_paths(description: Mapping[str, Any], change: Callable[[str, str], str], within: str = "") -> dict[str, Any]:
    """The description with its paths changed: change(path, name of the part that is there)."""
    changed = dict(description)
    if isinstance(heads := changed.get("heads"), str):
        changed["heads"] = change(heads, f"{within}heads")
    weights = changed.get("pretrained")
    if isinstance(weights, str) and (weights.startswith(INSIDE) or Path(weights).is_file()):  # no tag of open_clip
        changed["pretrained"] = change(weights, f"{within}pretrained")
    model = changed.get("model")
    if isinstance(model, str) and model.startswith(LOCAL_DIR):
        changed["model"] = LOCAL_DIR + change(model.removeprefix(LOCAL_DIR), f"{within}model")
    for side, place in TOWERS.items():
        tower = changed.get(side)
        if isinstance(tower, Mapping) and _is_local(tower.get(place), side):
            changed[side] = {**tower, place: change(tower[place], f"{within}{side}")}
    if isinstance(changed.get(NESTED), Mapping):
        changed[NESTED] = _with_paths(changed[NESTED], change, f"{within}{NESTED}/")
    return changed
