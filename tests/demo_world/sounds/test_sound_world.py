"""The written sounds: files, tables, reproducibility, re-use and refusals."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("av")

import av

from demo_world.sounds import world
from demo_world.sounds.audio import write_flac
from demo_world.sounds.render import render_sound
from demo_world.sounds.world import scene_and_captions, world_hash, write_sound_world
from demo_world.write_world import SPLITS

SIZES = {"pretrain": 3, "train": 400, "val": 4, "test": 4}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "sounds"
    return root, write_sound_world(root, **SIZES, progress=False)


def decoded(path) -> tuple[np.ndarray, int]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)]), stream.rate


def test_files_hold_the_waves_of_their_scenes(written):
    root, _ = written
    rows = pq.read_table(root / "images.parquet").to_pylist()
    assert len(rows) == 11
    for row in rows:
        split, index = row["image_id"].split("_")
        assert row["path"] == f"sounds/{split}/{index}.flac" and row["split"] == split
        wave, rate = decoded(root / row["path"])
        assert rate == 16000 and len(wave) == 5 * rate and wave.dtype == np.int16
        np.testing.assert_array_equal(wave, render_sound(scene_and_captions(0, split, int(index))[0]))


def test_captions_are_those_of_the_scenes_and_held_out_ones_are_not_in_the_corpus(written):
    root, note = written
    rows = pq.read_table(root / "captions.parquet").to_pylist()
    by_id = {row["caption_id"]: row["caption"] for row in rows}
    assert [by_id[f"test_000001_{k}"] for k in range(5)] == scene_and_captions(0, "test", 1)[1]
    corpus = [row["caption"] for row in rows if row["split"] == "train"]
    heldout = {row["caption"] for row in rows if row["split"] in ("val", "test")}
    assert not set(corpus) & heldout
    assert note["corpus_captions_dropped"] == 5 * SIZES["train"] - len(corpus) > 0


def test_a_sound_is_the_same_whatever_else_is_written(written, tmp_path):
    root, _ = written
    write_sound_world(tmp_path, 0, 0, 2, 0, progress=False)
    for index in range(2):
        name = f"sounds/val/{index:06d}.flac"
        assert (tmp_path / name).read_bytes() == (root / name).read_bytes()


def test_a_finished_world_is_kept_and_other_settings_are_refused_by_name(written, tmp_path):
    root, note = written
    assert note == json.loads((root / "world.json").read_text())
    assert write_sound_world(root, **SIZES, progress=False) == note
    with pytest.raises(ValueError, match="seed=0, but seed=1 is asked for"):
        write_sound_world(root, **SIZES, seed=1, progress=False)
    with pytest.raises(ValueError, match="val=-1 must be greater than or equal to 0"):
        write_sound_world(tmp_path, **{**SIZES, "val": -1})


def test_splits_and_seeds_differ():
    told = {(seed, split): tuple(scene_and_captions(seed, split, 0)[1]) for seed in (0, 1) for split in SPLITS}
    assert len(set(told.values())) == 8


def test_the_hash_depends_on_the_seed(monkeypatch):
    monkeypatch.setattr(world, "HASHED_SCENES", 3)
    assert world_hash(0) == world_hash(0) != world_hash(1)


def test_golden_captions():
    captions = [caption for k in range(200) for caption in scene_and_captions(0, "test", k)[1]]
    assert hashlib.sha256("\n".join(captions).encode()).hexdigest() == GOLDEN_DIGEST


@pytest.mark.parametrize("samples", [1, 4096, 5000])
def test_files_of_any_length(tmp_path, samples):
    wave = np.random.default_rng(0).integers(-32768, 32767, samples).astype(np.int16)
    write_flac(wave, tmp_path / "x.flac", rate=8000)
    read, rate = decoded(tmp_path / "x.flac")
    np.testing.assert_array_equal(read, wave)
    assert rate == 8000


def test_without_pyav_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r'PyAV, which is missing: run pip install -e "\.\[demo\]"'):
        write_sound_world(tmp_path, **SIZES)


def test_the_commands_options(compose):
    config = compose("prepare_data", "dataset=demo_sounds")
    assert config.dataset.kind == "demo_sounds" and config.dataset.text_split == "train"
    pairs = compose("prepare_data", "dataset=demo_sounds_pretrain").dataset
    assert pairs.train_scenes == 0 and pairs.text_split == pairs.pairs_split == "pretrain"


def test_previews_draw_sheets(monkeypatch):
    from demo_world.sounds import preview

    monkeypatch.setattr(preview, "SOURCES", preview.SOURCES[:3])
    monkeypatch.setattr(preview, "TAKES", 1)
    assert preview.sheet_of_sources().size == (2 * (preview.WIDTH + 12), 2 * preview.ROW)
    assert preview.sheet_of_scenes(0, "val", 0, 2).size[1] == preview.ROW


GOLDEN_DIGEST = "69129a9f8a7b9507da4561eb1325ac7011738d6ad8f50445390a9289ab8fae47"
