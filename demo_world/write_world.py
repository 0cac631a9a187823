"""Writing a generated world as a data set: a file for each scene, the two tables and a note of what was written."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from tqdm import tqdm

from common.cores import map_over_cores
from common.files import write_json
from embedding_space.tables import TableWriter

SPLITS = {"pretrain": 0, "train": 1, "val": 2, "test": 3}  # the codes seed the scenes: never change one
FILE_SPLITS = ("pretrain", "val", "test")  # the scenes of "train" have captions and no files
CHUNK = 4096  # scenes held in memory at a time
SCENES_WORTH_PROCESSES = 5000  # each process first draws all sprites, for some seconds


class World(ABC):
    """Scenes that a seed, a split and a number determine, in any order, with captions and a file for each.

    Its objects go to other processes.

    Attributes:
        name: in messages.
        folder, suffix: where the files are: <folder>/<split>/<nnnnnn><suffix>.
        license: of the files.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    suffix: ClassVar[str]
    license: ClassVar[str]

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scenes, the world's fields: `world.json` says it, and a world of others is not kept."""
        return dict(vars(self))

    @property
    @abstractmethod
    def packages(self) -> dict[str, str]:
        """The packages that drew the files, with their versions."""

    @abstractmethod
    def scene_and_captions(self, split: str, index: int) -> tuple[Any, list[str]]:
        """Scene `index` of a split and its captions: the same whatever else is generated."""

    @abstractmethod
    def write_scene(self, scene: Any, path: Path) -> None:
        """Write the file of a scene."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over a sample of what the scenes look or sound like and their captions."""

    def path(self, split: str, index: int) -> str:
        """The file of a scene, relative to the data set's root."""
        return f"{self.folder}/{split}/{index:06d}{self.suffix}"


def write_world(world: World, root: Path, scenes: dict[str, int], progress: bool = True) -> dict:
    """Write the world to `root` and return what `world.json` says; a finished world of the same settings is kept.

    Writes the scenes' files, `images.parquet`, `captions.parquet` and, last, `world.json`. Captions of "train", the
    text-only corpus, that equal a caption of val or test word for word are left out of the corpus.

    Args:
        scenes: how many of each of `SPLITS`.

    Raises:
        ValueError: `root` holds a world of other settings.
    """
    settings = {**{f"{split}_scenes": count for split, count in scenes.items()}, **world.settings}
    fingerprint = world.fingerprint()
    finished = _finished(world, root, settings, fingerprint)
    if finished is not None:
        return finished
    heldout = [
        caption
        for split in ("val", "test")
        for index in range(scenes[split])
        for caption in world.scene_and_captions(split, index)[1]
    ]
    written = _write_tables(world, root, scenes, frozenset(heldout), progress)
    note = {
        **settings,
        "world_hash": fingerprint,
        "packages": world.packages,
        "captions": written["captions"],
        "corpus_captions_dropped": written["dropped"],
        # the share of val and test captions that occur word for word in the corpus
        "heldout_overlap_before": sum(caption in written["overlapping"] for caption in heldout) / max(len(heldout), 1),
        "heldout_overlap_after": 0.0,
        "licence": world.license,
    }
    write_json(root / "world.json", note)
    return note


def _finished(world: World, root: Path, settings: dict, fingerprint: str) -> dict | None:
    """The note of a finished world in `root`, or None if there is none."""
    path = root / "world.json"
    if not path.is_file():
        return None
    note = json.loads(path.read_text(encoding="utf-8"))
    for option, wanted in settings.items():
        if note.get(option) != wanted:
            raise ValueError(
                f"{root} holds a demo world written with {option}={note.get(option)}, but {option}={wanted} is asked "
                f"for: choose another dataset.root or remove {root}"
            )
    if note.get("world_hash") != fingerprint:
        raise ValueError(
            f"{root} holds another world than the {world.name}, or one by another version of demo_world or of its "
            f"packages (world_hash {str(note.get('world_hash'))[:12]}, here {fingerprint[:12]}): remove {root} and "
            "prepare it again"
        )
    return note


def _write_tables(world: World, root: Path, scenes: dict[str, int], heldout: frozenset[str], progress: bool) -> dict:
    """Write files and tables, a chunk of scenes at a time, by as many processes as there are cores."""
    captions_written = dict.fromkeys(SPLITS, 0)
    dropped, overlapping = 0, set()
    total = sum(scenes.values())
    bar = tqdm(total=total, desc=world.name, unit="scene", disable=not progress, dynamic_ncols=True)
    over_cores = map_over_cores(total >= SCENES_WORTH_PROCESSES, chunksize=32)
    with bar, over_cores as each, TableWriter(root) as writer:
        for split, indices in _chunks(scenes):
            has_files = split in FILE_SPLITS
            if has_files:
                (root / world.folder / split).mkdir(parents=True, exist_ok=True)
            for index, captions in zip(indices, each(partial(_write_one, world, root, split), indices), strict=True):
                name = f"{split}_{index:06d}"
                row = writer.image(name, world.path(split, index), split) if has_files else None
                for number, caption in enumerate(captions):
                    if split == "train" and caption in heldout:
                        overlapping.add(caption)
                        dropped += 1
                        continue
                    writer.caption(f"{name}_{number}", row, caption, split)
                    captions_written[split] += 1
                bar.update()
    return {"captions": captions_written, "dropped": dropped, "overlapping": overlapping}


def _write_one(world: World, root: Path, split: str, index: int) -> list[str]:
    """Write the file of a scene, if its split has files, and return its captions."""
    scene, captions = world.scene_and_captions(split, index)
    if split in FILE_SPLITS:
        world.write_scene(scene, root / world.path(split, index))
    return captions


def _chunks(scenes: dict[str, int]) -> Iterator[tuple[str, range]]:
    for split, count in scenes.items():
        for start in range(0, count, CHUNK):
            yield split, range(start, min(start + CHUNK, count))
