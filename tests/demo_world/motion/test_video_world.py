"""The written videos: files, tables, reproducibility, re-use and refusals."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("av")
pytest.importorskip("resvg_py")

import av

from demo_world.motion import video, world
from demo_world.motion.render import render_frames
from demo_world.motion.video import write_video
from demo_world.motion.world import scene_and_captions, world_hash, write_video_world
from demo_world.world import write_demo_world

SIZES = {"pretrain": 4, "train": 1500, "val": 40, "test": 6}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "videos"
    return root, write_video_world(root, **SIZES, progress=False)


def decoded(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_files_hold_the_frames_of_their_scenes(written):
    root, _ = written
    for row in pq.read_table(root / "images.parquet").to_pylist():
        split, index = row["image_id"].split("_")
        assert row["path"] == f"videos/{split}/{index}.mp4" and row["split"] == split
        frames = render_frames(scene_and_captions(0, split, int(index))[0])
        seen = decoded(root / row["path"])
        assert seen.shape == frames.shape == (8, 96, 96, 3)
        error = np.mean((seen.astype(float) - frames) ** 2)
        assert 10 * np.log10(255**2 / error) > 27, row  # decibels; sprites stay what they are
    with av.open(str(root / "videos/val/000000.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 4 and stream.pix_fmt == "yuv420p"
        assert float(stream.duration * stream.time_base) == 2


def test_captions_are_those_of_the_scenes_and_held_out_ones_are_not_in_the_corpus(written):
    root, note = written
    rows = pq.read_table(root / "captions.parquet").to_pylist()
    by_id = {row["caption_id"]: row["caption"] for row in rows}
    assert [by_id[f"val_000002_{k}"] for k in range(5)] == scene_and_captions(0, "val", 2)[1]
    corpus = {row["caption"] for row in rows if row["split"] == "train"}
    heldout = {row["caption"] for row in rows if row["split"] in ("val", "test")}
    assert not corpus & heldout and note["corpus_captions_dropped"] > 0
    assert all((row["image_row"] is None) == (row["split"] == "train") for row in rows)


def test_a_video_is_the_same_whatever_else_is_written(written, tmp_path):
    root, _ = written
    write_video_world(tmp_path / "few", 0, 0, 2, 0, progress=False)
    for index in range(2):
        name = f"videos/val/{index:06d}.mp4"
        # Not the bytes: on a loaded machine x264 once in some ten thousand files rounds a block another way.
        difference = decoded(tmp_path / "few" / name).astype(int) - decoded(root / name)
        assert np.mean(difference**2) < 1


def test_a_finished_world_is_kept_and_other_settings_are_refused_by_name(written, tmp_path):
    root, note = written
    assert note == json.loads((root / "world.json").read_text())
    assert write_video_world(root, **SIZES, progress=False) == note
    with pytest.raises(ValueError, match="frames=8, but frames=6 is asked for"):
        write_video_world(root, **SIZES, frames=6, progress=False)
    with pytest.raises(ValueError, match="holds another world"):
        write_demo_world(root, **SIZES, progress=False)
    with pytest.raises(ValueError, match="frames=1 must be greater than or equal to 2"):
        write_video_world(tmp_path, **SIZES, frames=1)
    with pytest.raises(ValueError, match="image_size=97 must be a multiple of 2"):
        write_video_world(tmp_path, **SIZES, image_size=97)


def test_rain_falls_from_frame_to_frame_until_it_stops():
    index = next(k for k in range(500) if scene_and_captions(0, "test", k)[0].motion.change == "rain stops")
    scene, _ = scene_and_captions(0, "test", index)
    frames = render_frames(scene).astype(int)
    sky = np.abs(np.diff(frames[:, :20], axis=0)).mean(axis=(1, 2, 3))
    assert sky[0] > 1 and scene.falls(0) and not scene.falls(1)
    assert np.abs(frames[0] - frames[-1])[:20].mean() > 1


def test_frames_are_those_of_equal_moments():
    index = next(k for k in range(50) if scene_and_captions(0, "test", k)[0].motion.kind == "go")
    scene, _ = scene_and_captions(0, "test", index)
    few, many = render_frames(scene, 2), render_frames(scene, 3)
    np.testing.assert_array_equal(few[0], many[0])
    assert len(many) == 3 and render_frames(scene, 2, 48).shape == (2, 48, 48, 3)


def test_the_hash_depends_on_seed_frames_and_size(monkeypatch):
    monkeypatch.setattr(world, "HASHED_SCENES", 3)
    assert len({world_hash(0), world_hash(1), world_hash(0, 4), world_hash(0, 8, 64)}) == 4


def test_golden_captions():
    captions = [caption for k in range(200) for caption in scene_and_captions(0, "test", k)[1]]
    assert hashlib.sha256("\n".join(captions).encode()).hexdigest() == GOLDEN_DIGEST


def test_the_other_codec_writes_too(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "CODECS", {"no_such_codec": {}, "mpeg4": video.CODECS["mpeg4"]})
    frames = render_frames(scene_and_captions(0, "test", 0)[0], 4)
    write_video(frames, tmp_path / "clip.mp4")
    assert np.abs(decoded(tmp_path / "clip.mp4").astype(int) - frames).mean() < 6
    monkeypatch.setattr(video, "CODECS", {"no_such_codec": {}})
    with pytest.raises(ImportError, match="none of the codecs no_such_codec"):
        write_video(frames, tmp_path / "other.mp4")


def test_without_pyav_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r'PyAV, which is missing: run pip install -e "\.\[demo\]"'):
        write_video_world(tmp_path, **SIZES)


def test_the_commands_options(compose):
    config = compose("prepare_data", "dataset=demo_videos")
    assert config.dataset.kind == "demo_videos" and config.dataset.image_mean_split == "pretrain"
    with pytest.raises(ValueError, match=r"dataset\.frames=0 must be a whole number, at least 1"):
        compose("prepare_data", "dataset=demo_videos", "dataset.frames=0")
    assert compose("prepare_data", "dataset=demo_videos_pretrain").dataset.train_scenes == 0


def test_preview_draws_a_sheet():
    from demo_world.motion.preview import CELL, contact_sheet

    assert contact_sheet(seed=0, split="val", start=0, scenes=2).size == (CELL[0], 2 * CELL[1] + 24)


GOLDEN_DIGEST = "af472bc82044f59b0261a09e41c594de9458e7c330d0873441e6445036a50d74"
