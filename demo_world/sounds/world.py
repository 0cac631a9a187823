"""The world of sounds: its scenes by seed, split and number, and writing it as a data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from common.checks import Whole, checked_options
from demo_world.sounds.audio import require_pyav, write_flac
from demo_world.sounds.captions import write_captions
from demo_world.sounds.render import render_sound
from demo_world.sounds.scene import SoundScene, sample_sound_scene
from demo_world.write_world import SPLITS, World, write_world

HASHED_SCENES = 32
HASHED_BITS = 8  # of 16: another version of NumPy may round the lowest ones otherwise
SOUND = 2  # what tells its random numbers from those of pictures and videos
LICENSE = "Sounds are synthesized by the demo world; they are under the license of this project."


def scene_and_captions(seed: int, split: str, index: int) -> tuple[SoundScene, list[str]]:
    """Scene `index` of a split and its five captions: the same whatever else is generated, and in any order."""
    rng = np.random.default_rng([seed, SPLITS[split], index, SOUND])
    scene = sample_sound_scene(rng)
    return scene, write_captions(scene, rng)


def world_hash(seed: int) -> str:
    """SHA-256 over the waves, roughly, and the captions of a fixed sample of scenes."""
    digest = hashlib.sha256()
    for index in range(HASHED_SCENES):
        scene, captions = scene_and_captions(seed, "test", index)
        wave = render_sound(scene).astype(np.float64)
        loud = np.sqrt((wave[: len(wave) // 1600 * 1600].reshape(-1, 1600) ** 2).mean(axis=1))  # every 0.1 seconds
        digest.update(np.round(loud / 2**HASHED_BITS).astype(np.int16).tobytes())
        digest.update("\n".join(captions).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class SoundWorld(World):
    """Scenes as FLAC files of 5 seconds, 16 kHz, one channel."""

    seed: int
    name = "demo world of sounds"
    folder, suffix = "sounds", ".flac"
    license = LICENSE

    @property
    def packages(self) -> dict[str, str]:
        return {name: version(name) for name in ("numpy", "scipy", "av")}

    def scene_and_captions(self, split: str, index: int) -> tuple[SoundScene, list[str]]:
        return scene_and_captions(self.seed, split, index)

    def write_scene(self, scene: SoundScene, path: Path) -> None:
        write_flac(render_sound(scene), path)

    def fingerprint(self) -> str:
        return world_hash(self.seed)


@checked_options()
def write_sound_world(
    root: Path | str,
    pretrain: Whole,
    train: Whole,
    val: Whole,
    test: Whole,
    seed: Whole = 0,
    progress: bool = True,
) -> dict:
    """Write the world of sounds to `root`, as `write_world` does, and return what `world.json` says.

    Args:
        pretrain, train, val, test: numbers of scenes.

    Raises:
        ImportError: PyAV is missing.
        ValueError: `root` holds a world of other settings.
    """
    require_pyav()
    scenes = {"pretrain": pretrain, "train": train, "val": val, "test": test}
    return write_world(SoundWorld(seed), Path(root), scenes, progress)
