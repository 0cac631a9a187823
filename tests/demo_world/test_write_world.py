"""Writing any world, by one that writes a line of text for a scene."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import partial

import pytest

from demo_world import write_world as module
from demo_world.motion.world import VideoWorld
from demo_world.sounds.world import SoundWorld
from demo_world.world import PictureWorld
from demo_world.write_world import SPLITS, World, write_world
from embedding_space.tables import read_tables

SCENES = {"pretrain": 2, "train": 9, "val": 3, "test": 1}


@dataclass(frozen=True)
class LineWorld(World):
    """Scenes are numbers below seven; a caption is the number."""

    seed: int = 0
    name = "world of lines"
    folder, suffix = "lines", ".txt"
    license = "none"

    @property
    def settings(self):
        return {"seed": self.seed}

    @property
    def packages(self):
        return {}

    def scene_and_captions(self, split, index):
        scene = (self.seed + 2 * SPLITS[split] + index) % 7
        return scene, [f"number {scene}", f"line {split} {index}"]

    def write_scene(self, scene, path):
        path.write_text(str(scene))

    def fingerprint(self):
        return f"lines {self.seed}"


@pytest.mark.parametrize("chunk", [2, 4096])
def test_files_tables_and_what_is_dropped(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    note = write_world(LineWorld(), tmp_path, SCENES, progress=False)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")) == [
        "lines/pretrain/000000.txt", "lines/pretrain/000001.txt", "lines/test/000000.txt", "lines/val/000000.txt",
        "lines/val/000001.txt", "lines/val/000002.txt",
    ]  # fmt: skip
    assert (tmp_path / "lines/val/000002.txt").read_text() == "6"
    tables = read_tables(tmp_path)
    corpus = [row["caption"] for row in tables.captions.to_pylist() if row["split"] == "train"]
    assert [caption for caption in corpus if caption.startswith("number")] == [
        "number 2", "number 3", "number 0", "number 1", "number 2", "number 3"
    ]  # fmt: skip
    assert note["corpus_captions_dropped"] == 3 and note["captions"]["train"] == 15  # 4, 5 and 6 are in val and test
    assert note["heldout_overlap_before"] == 4 / 8 and note["heldout_overlap_after"] == 0


def test_finished_worlds_are_kept_and_others_refused(tmp_path):
    note = write_world(LineWorld(), tmp_path, SCENES, progress=False)
    (tmp_path / "lines/val/000000.txt").unlink()
    assert write_world(LineWorld(), tmp_path, SCENES, progress=False) == note
    with pytest.raises(ValueError, match="seed=0, but seed=1 is asked for"):
        write_world(LineWorld(1), tmp_path, SCENES, progress=False)
    with pytest.raises(ValueError, match="val_scenes=3, but val_scenes=4 is asked for"):
        write_world(LineWorld(), tmp_path, {**SCENES, "val": 4}, progress=False)


@pytest.mark.parametrize("world", [PictureWorld(0, 96), VideoWorld(0, 8, 96), SoundWorld(0)], ids=lambda w: w.name)
def test_worlds_go_to_other_processes(world, tmp_path):
    work = pickle.loads(pickle.dumps(partial(module._write_one, world, tmp_path, "train")))
    assert work(3) == world.scene_and_captions("train", 3)[1]
