"""The world of pictures: its scenes by seed, split and number, and writing it as a data set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from common.checks import Whole, checked_options
from demo_world.captions import write_captions
from demo_world.render import IMAGE_SIZE, render
from demo_world.scene import Scene, sample_scene
from demo_world.sprites import LICENSE, PINNED, require_packages
from demo_world.write_world import SPLITS, World, write_world

HASHED_SCENES = 256


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


@dataclass(frozen=True)
class PictureWorld(World):
    """Scenes as PNG files of `image_size` pixels."""

    seed: int
    image_size: int
    name = "demo world"
    folder, suffix = "images", ".png"
    license = LICENSE

    @property
    def packages(self) -> dict[str, str]:
        return {**PINNED, "pillow": version("pillow"), "numpy": version("numpy")}

    def scene_and_captions(self, split: str, index: int) -> tuple[Scene, list[str]]:
        return scene_and_captions(self.seed, split, index)

    def write_scene(self, scene: Scene, path: Path) -> None:
        Image.fromarray(render(scene, self.image_size)).save(path, compress_level=1)

    def fingerprint(self) -> str:
        return world_hash(self.seed, self.image_size)


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
    """Write the world of pictures to `root`, as `write_world` does, and return what `world.json` says.

    Args:
        pretrain, train, val, test: numbers of scenes.

    Raises:
        ImportError: the sprite packages are missing or have other versions.
        ValueError: `root` holds a world of other settings.
    """
    require_packages()
    scenes = {"pretrain": pretrain, "train": train, "val": val, "test": test}
    return write_world(PictureWorld(seed, image_size), Path(root), scenes, progress)
