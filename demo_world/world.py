"""Writing the world as a data set: pictures, the two tables and a note of what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field
from tqdm import tqdm

from common.checks import Whole, checked_options
from common.cores import map_over_cores
from common.files import write_json
from demo_world.captions import write_captions
from demo_world.render import IMAGE_SIZE, render
from demo_world.scene import Scene, sample_scene
from demo_world.sprites import LICENSE, PINNED, require_packages
from embedding_space.tables import TableWriter

SPLITS = {"pretrain": 0, "train": 1, "val": 2, "test": 3}  # the codes seed the scenes: never change one
IMAGE_SPLITS = ("pretrain", "val", "test")  # the scenes of "train" have captions and no pictures
HASHED_SCENES = 256
CHUNK = 4096  # scenes held in memory at a time
SCENES_WORTH_PROCESSES = 5000  # each process first draws all sprites, for some seconds


def scene_and_captions(seed: int, split: str, index: int) -> tuple[Scene, list[str]]:
    """Scene `index` of a split and its five captions: the same whatever else is generated, and in any order."""
    rng = np.random.default_rng([seed, SPLITS[split], index])
    scene = sample_scene(rng)
    return scene, write_captions(scene, rng)


def world_hash(seed: int, image_size: int = IMAGE_SIZE) -> str:
    """SHA-256 over the pixels and captions of a fixed sample of scenes and the versions of the sprite packages."""
    digest = hashlib.sha256(json.dumps(PINNED, sort_keys=True).encode())
    for index in range(HASHED_SCENES):
        scene, captions = scene_and_captions(seed, "test", index)
        digest.update(render(scene, image_size).tobytes())
        digest.update("\n".join(captions).encode())
    return digest.hexdigest()


@checked_options()
def write_demo_world(
    root: Path | str,
    pretrain: Whole,
    train: Whole,
    val: Whole,
    test: Whole,
    seed: Whole = 0,
    image_size: Annotated[int, Field(ge=32)] = IMAGE_SIZE,
    progress: bool = True,
) -> dict:
    """Write the world to `root` and return what `world.json` says; a finished world of the same settings is kept.

    Writes `images/<split>/<nnnnnn>.png`, `images.parquet`, `captions.parquet` and, last, `world.json`. Captions of
    "train", the text-only corpus, that equal a caption of val or test word for word are left out of the corpus.

    Args:
        pretrain, train, val, test: numbers of scenes.

    Raises:
        ImportError: the sprite packages are missing or have other versions.
        ValueError: `root` holds a world of other settings.
    """
    root = Path(root)
    scenes = {"pretrain": pretrain, "train": train, "val": val, "test": test}
    require_packages()
    settings = {**{f"{split}_scenes": count for split, count in scenes.items()}, "seed": seed, "image_size": image_size}
    fingerprint = world_hash(seed, image_size)
    finished = _finished(root, settings, fingerprint)
    if finished is not None:
        return finished

    heldout = [
        caption
        for split in ("val", "test")
        for index in range(scenes[split])
        for caption in scene_and_captions(seed, split, index)[1]
    ]
    written = _write_tables(root, scenes, seed, image_size, frozenset(heldout), progress)
    note = {
        **settings,
        "world_hash": fingerprint,
        "packages": {**PINNED, "pillow": version("pillow"), "numpy": version("numpy")},
        "captions": written["captions"],
        "corpus_captions_dropped": written["dropped"],
        # the share of val and test captions that occur word for word in the corpus
        "heldout_overlap_before": sum(caption in written["overlapping"] for caption in heldout) / max(len(heldout), 1),
        "heldout_overlap_after": 0.0,
        "licence": LICENSE,
    }
    write_json(root / "world.json", note)
    return note


def _finished(root: Path, settings: dict, fingerprint: str) -> dict | None:
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
            f"{root} holds a demo world drawn by another version of demo_world or of its packages (world_hash "
            f"{str(note.get('world_hash'))[:12]}, here {fingerprint[:12]}): remove {root} and prepare it again"
        )
    return note


def _write_tables(
    root: Path, scenes: dict[str, int], seed: int, image_size: int, heldout: frozenset[str], progress: bool
) -> dict:
    """Write pictures and tables, a chunk of scenes at a time, drawn by as many processes as there are cores."""
    captions_written = dict.fromkeys(SPLITS, 0)
    dropped, overlapping = 0, set()
    total = sum(scenes.values())
    bar = tqdm(total=total, desc="demo world", unit="scene", disable=not progress, dynamic_ncols=True)
    over_cores = map_over_cores(total >= SCENES_WORTH_PROCESSES, chunksize=32)
    with bar, over_cores as each, TableWriter(root) as writer:
        for split, indices in _chunks(scenes):
            drawn = split in IMAGE_SPLITS
            if drawn:
                (root / "images" / split).mkdir(parents=True, exist_ok=True)
            for index, captions in zip(
                indices, each(partial(_draw, root, seed, image_size, split), indices), strict=True
            ):
                name = f"{split}_{index:06d}"
                row = writer.image(name, _picture(split, index), split) if drawn else None
                for number, caption in enumerate(captions):
                    if split == "train" and caption in heldout:
                        overlapping.add(caption)
                        dropped += 1
                        continue
                    writer.caption(f"{name}_{number}", row, caption, split)
                    captions_written[split] += 1
                bar.update()
    return {"captions": captions_written, "dropped": dropped, "overlapping": overlapping}


def _draw(root: Path, seed: int, image_size: int, split: str, index: int) -> list[str]:
    """Write the picture of a scene, if its split has pictures, and return its captions."""
    scene, captions = scene_and_captions(seed, split, index)
    if split in IMAGE_SPLITS:
        Image.fromarray(render(scene, image_size)).save(root / _picture(split, index), compress_level=1)
    return captions


def _picture(split: str, index: int) -> str:
    return f"images/{split}/{index:06d}.png"


def _chunks(scenes: dict[str, int]) -> Iterator[tuple[str, range]]:
    for split, count in scenes.items():
        for start in range(0, count, CHUNK):
            yield split, range(start, min(start + CHUNK, count))
