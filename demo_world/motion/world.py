"""The world of videos: its scenes by seed, split and number, and writing it as a data set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from common.checks import Whole, checked_options
from demo_world.motion.captions import write_captions
from demo_world.motion.render import FRAMES, render_frames
from demo_world.motion.scene import MotionScene, sample_motion_scene
from demo_world.motion.video import FRAMES_PER_SECOND, video_codec, write_video
from demo_world.render import IMAGE_SIZE
from demo_world.sprites import LICENSE, PINNED, require_packages
from demo_world.write_world import SPLITS, World, write_world

HASHED_SCENES = 48
MOTION = 1  # what tells its random numbers from those of the pictures


def scene_and_captions(seed: int, split: str, index: int) -> tuple[MotionScene, list[str]]:
    """Scene `index` of a split and its five captions: the same whatever else is generated, and in any order."""
    rng = np.random.default_rng([seed, SPLITS[split], index, MOTION])
    scene = sample_motion_scene(rng)
    return scene, write_captions(scene, rng)


def world_hash(seed: int, frames: int = FRAMES, image_size: int = IMAGE_SIZE) -> str:
    """SHA-256 over the pixels and captions of a fixed sample of scenes and the versions of the sprite packages."""
    digest = hashlib.sha256(json.dumps(PINNED, sort_keys=True).encode())
    for index in range(HASHED_SCENES):
        scene, captions = scene_and_captions(seed, "test", index)
        digest.update(render_frames(scene, frames, image_size).tobytes())
        digest.update("\n".join(captions).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class VideoWorld(World):
    """Scenes as MP4 files of `frames` frames of `image_size` pixels."""

    seed: int
    frames: int
    image_size: int
    name = "demo world of videos"
    folder, suffix = "videos", ".mp4"
    license = LICENSE

    @property
    def packages(self) -> dict[str, str]:
        return {**PINNED, **{name: version(name) for name in ("pillow", "numpy", "av")}, "codec": video_codec()}

    def scene_and_captions(self, split: str, index: int) -> tuple[MotionScene, list[str]]:
        return scene_and_captions(self.seed, split, index)

    def write_scene(self, scene: MotionScene, path: Path) -> None:
        write_video(render_frames(scene, self.frames, self.image_size), path, FRAMES_PER_SECOND)

    def fingerprint(self) -> str:
        return world_hash(self.seed, self.frames, self.image_size)


@checked_options()
def write_video_world(
    root: Path | str,
    pretrain: Whole,
    train: Whole,
    val: Whole,
    test: Whole,
    seed: Whole = 0,
    frames: Annotated[int, Field(ge=2)] = FRAMES,
    image_size: Annotated[int, Field(ge=32, multiple_of=2)] = IMAGE_SIZE,
    progress: bool = True,
) -> dict:
    """Write the world of videos to `root`, as `write_world` does, and return what `world.json` says.

    Args:
        pretrain, train, val, test: numbers of scenes.
        frames: of each video, which shows the scene from its first to its last moment.

    Raises:
        ImportError: the sprite packages are missing or have other versions, or PyAV is missing.
        ValueError: `root` holds a world of other settings.
    """
    require_packages()
    video_codec()
    scenes = {"pretrain": pretrain, "train": train, "val": val, "test": test}
    return write_world(VideoWorld(seed, frames, image_size), Path(root), scenes, progress)
