"""Drawing in shards: interrupted, in several processes, over cores, always the same bytes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from PIL import Image

from common.processes import Processes
from embedding_space.tables import write_tables
from synthetic_images import drawing
from synthetic_images.defects import Defect
from synthetic_images.drawing import Drawer
from synthetic_images.painter import Commission, Drawn


class NoisePainter(Drawer):
    """Noise of the caption's seed; refuses captions that end in "no"."""

    on_cores = True
    knows_defects = True

    def __init__(self, fails_at: str | None = None):
        self.fails_at = fails_at

    def options(self):
        return {}

    def draw(self, captions, seeds):
        return [self.draw_one(caption, seed) for caption, seed in zip(captions, seeds, strict=True)]

    def draw_one(self, caption, seed):
        if caption == self.fails_at:
            raise KeyboardInterrupt
        if caption.endswith("no"):
            return Drawn(None)
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        return Drawn(Image.fromarray(pixels), (Defect("wrong_count", caption, 0, 0, 1, 1, "1", "2"),))


@pytest.fixture
def commission(tmp_path, monkeypatch) -> Commission:
    monkeypatch.setattr(drawing, "SHARD", 4)
    captions = [f"caption {number}{' no' if number in (3, 9) else ''}" for number in range(15)]
    rows = [
        {"caption_id": f"c{number}", "image_row": None, "caption": caption, "split": "train"}
        for number, caption in enumerate(captions)
    ]
    tables = write_tables(tmp_path / "source", [], rows)
    return Commission(tables, "train", np.arange(1, 15), np.arange(1, 15), seed=7)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_pictures_and_defects_are_those_of_the_captions(commission, tmp_path):
    painting = NoisePainter().paint(commission, tmp_path / "out", Processes())
    assert painting.kept.tolist() == [place for place in range(14) if place + 1 not in (3, 9)]
    assert painting.paths[0] == "images/synthetic/0000/0000001.png" and len(painting.paths) == 12
    assert [(place, defect.noun) for place, defect in painting.defects][:3] == [
        (0, "caption 1"), (1, "caption 2"), (3, "caption 4")
    ]  # fmt: skip
    assert sorted(files(tmp_path / "out")) == sorted(painting.paths)
    fewer = Commission(commission.tables, "train", np.array([5, 8]), np.array([5, 8]), seed=7)
    NoisePainter().paint(fewer, tmp_path / "few", Processes())
    few, all_of_them = files(tmp_path / "few"), files(tmp_path / "out")
    assert len(few) == 2 and few.items() <= all_of_them.items()  # by position, whatever else is painted
    other = Commission(commission.tables, "train", commission.rows, commission.positions, seed=8)
    NoisePainter().paint(other, tmp_path / "other", Processes())
    assert not files(tmp_path / "other").items() & all_of_them.items()


def test_an_interrupted_painting_goes_on_to_the_same_bytes(commission, tmp_path):
    whole = NoisePainter().paint(commission, tmp_path / "whole", Processes())
    with pytest.raises(KeyboardInterrupt):
        NoisePainter(fails_at="caption 7").paint(commission, tmp_path / "out", Processes())
    begun = files(tmp_path / "out")
    (tmp_path / "out" / whole.paths[0]).write_bytes(b"done already")
    assert 0 < len(begun) < 12
    again = NoisePainter(fails_at="caption 1").paint(commission, tmp_path / "out", Processes())
    assert again.paths == whole.paths and again.defects == whole.defects
    assert (tmp_path / "out" / whole.paths[0]).read_bytes() == b"done already"  # finished shards are left alone
    assert {**files(tmp_path / "out"), **begun} == files(tmp_path / "whole")


def test_several_processes_share_the_shards(commission, tmp_path):
    def process(rank):
        return SimpleNamespace(rank=rank, count=2, run_everywhere=lambda work: work())

    with pytest.raises(FileNotFoundError):  # the other process has not painted its share yet
        NoisePainter().paint(commission, tmp_path / "out", process(1))
    theirs = len(files(tmp_path / "out"))
    one = NoisePainter().paint(commission, tmp_path / "out", process(0))
    whole = NoisePainter().paint(commission, tmp_path / "whole", Processes())
    assert 0 < theirs < 12 and one.paths == whole.paths and one.defects == whole.defects
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_cores_draw_the_same(commission, tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    from synthetic_images.demo_painter import DemoPainter

    captions = ["a dog", "two cats on a farm", "a red car at night", "a dove flying over a lake", "three pigs"]
    rows = [
        {"caption_id": f"c{number}", "image_row": None, "caption": caption, "split": "train"}
        for number, caption in enumerate(captions)
    ]
    tables = write_tables(tmp_path / "source", [], rows)
    commission = Commission(tables, "train", np.arange(5), np.arange(5), seed=0)
    one = DemoPainter().paint(commission, tmp_path / "one", Processes())
    monkeypatch.setattr(drawing, "PICTURES_WORTH_PROCESSES", 1)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    two = DemoPainter().paint(commission, tmp_path / "two", Processes())
    assert one.defects == two.defects and files(tmp_path / "one") == files(tmp_path / "two")
