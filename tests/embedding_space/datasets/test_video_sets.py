"""MSR-VTT, MSVD and VATEX: small files of the published formats become tables; malformed ones are refused in words."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from embedding_space.datasets import make_tables


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path, compose, monkeypatch):
    """The dataset config of `python scripts/prepare_data.py dataset=<name> <overrides>`, in a fresh data folder."""
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(tmp_path))
    return lambda name, *overrides: compose("prepare_data", f"dataset={name}", *overrides).dataset


@pytest.fixture
def videos(write_video):
    """A writer of short videos."""

    def write_all(folder: Path, *names: str) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            codec = "libx264" if name.endswith(".mp4") else "mpeg4"
            write_video(folder / name, frames=2, codec=codec)

    return write_all


def msrvtt_content(*videos: tuple[str, str]) -> dict:
    """The file of (video, split)s, whose captions are in another order than they."""
    entries = [
        {
            "category": 9,
            "url": "https://x",
            "video_id": video,
            "start time": 1.5,
            "end time": 9,
            "split": split,
            "id": n,
        }
        for n, (video, split) in enumerate(videos)
    ]
    pairs = [(number, video) for number in range(2) for video, _ in reversed(videos)]
    sentences = [{"caption": f"{video}: {n}", "video_id": video, "sen_id": i} for i, (n, video) in enumerate(pairs)]
    return {"info": {"year": "2016"}, "videos": entries, "sentences": sentences}


@pytest.fixture
def msrvtt(tmp_path, videos):
    folder = tmp_path / "msrvtt"
    listed = ("video0", "train"), ("video1", "train"), ("video6513", "validate")
    write(folder / "train_val_videodatainfo.json", msrvtt_content(*listed))
    write(folder / "test_videodatainfo.json", msrvtt_content(("video7010", "test")))
    videos(folder / "videos", "TrainValVideo/video0.mp4", "TrainValVideo/video1.mp4", "TrainValVideo/video6513.mp4")
    videos(folder / "videos", "TestVideo/video7010.mp4")
    return folder


def test_msrvtts_splits_are_the_usual_ones_or_c3s(msrvtt, config, capsys):
    tables = make_tables(config("msrvtt"))
    assert tables.images["image_id"].to_pylist() == ["video0", "video1", "video6513", "video7010"]
    assert tables.images["split"].to_pylist() == ["train", "train", "val", "test"]
    assert tables.captions["caption"].to_pylist()[:3] == ["video0: 0", "video0: 1", "video1: 0"]
    assert tables.images["path"].to_pylist()[-1] == "videos/TestVideo/video7010.mp4"
    assert "3 entries, 3 videos, 6 captions" in capsys.readouterr().out
    merged = make_tables(config("msrvtt", "dataset.merge_validate=true", "dataset.name=msrvtt_merged"))
    assert Counter(merged.images["split"].to_pylist()) == {"train": 3, "test": 1}
    only_test = make_tables(config("msrvtt", "dataset.annotations.train_val=null", "dataset.name=test"))
    assert only_test.images["image_id"].to_pylist() == ["video7010"]


def test_msrvtts_captions_alone(msrvtt, config):
    tables = make_tables(config("msrvtt", "dataset.images=null"))
    assert len(tables.images) == 0 and len(tables.captions) == 8


def test_missing_videos_are_named_and_counted(msrvtt, config, capsys):
    (msrvtt / "videos/TrainValVideo/video1.mp4").unlink()
    (msrvtt / "videos/TestVideo/video7010.mp4").unlink()
    with pytest.raises(FileNotFoundError, match=r"Videos are not there \(2 of those in .*; the first: .*video1\.mp4\)"):
        make_tables(config("msrvtt"))
    tables = make_tables(config("msrvtt", "dataset.missing_images=leave_out"))
    assert tables.images["image_id"].to_pylist() == ["video0", "video6513"]
    assert "1 of train (whose captions stay as text), 1 of test" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("sentences"), "a list 'sentences'"),
        (lambda content: content["videos"][0].pop("split"), r"videos\[0\]: the field 'split' is missing"),
        (lambda content: content["videos"][0].update(split="valid"), r"Unknown split 'valid' .*known: train, validate"),
        (lambda content: content["videos"].append(content["videos"][0]), "video0 is there twice"),
        (lambda content: content["videos"].pop(), "captions of video1, which its list `videos` lacks"),
        (lambda content: content["sentences"][0].update(caption=3), "a caption must be text, not 3"),
    ],
)
def test_malformed_msrvtt_files_are_refused(msrvtt, config, change, message):
    content = msrvtt_content(("video0", "train"), ("video1", "train"))
    change(content)
    write(msrvtt / "train_val_videodatainfo.json", content)
    with pytest.raises(ValueError, match=message):
        make_tables(config("msrvtt"))


def test_a_video_is_in_one_file_of_msrvtt(msrvtt, config):
    write(msrvtt / "test_videodatainfo.json", msrvtt_content(("video0", "test")))
    with pytest.raises(ValueError, match=r"test_videodatainfo\.json, videos\[0\]: video0 is there twice"):
        make_tables(config("msrvtt"))


MSVD = ("-4wsuPCjDBc_5_15", "mv89psg6zh4_33_46", "zzit5b_-ukg_5_20", "zxB4dFJhHR8_1_9")
HEADER = "# Microsoft Research Video Description Corpus\n# <clip> <caption>\n\n"


@pytest.fixture
def msvd(tmp_path, videos):
    folder = tmp_path / "msvd"
    lines = [f"{clip} a caption of {clip}, {n}" for n in range(2) for clip in MSVD]
    write(folder / "AllVideoDescriptions.txt", HEADER + "\n".join(lines) + "\n")
    for split, clip in zip(("train", "val", "test"), MSVD, strict=False):
        write(folder / f"{split}_list.txt", f"{clip}\n")
    videos(folder / "YouTubeClips", *(f"{clip}.avi" for clip in MSVD))
    return folder


def test_msvds_captions_and_lists(msvd, config, capsys):
    tables = make_tables(config("msvd"))
    assert tables.images["image_id"].to_pylist() == list(MSVD[:3])
    assert tables.images["split"].to_pylist() == ["train", "val", "test"]
    assert tables.captions["caption"].to_pylist()[:2] == [f"a caption of {MSVD[0]}, {n}" for n in range(2)]
    said = capsys.readouterr().out
    assert "8 entries, 3 videos, 8 captions" in said and "1 videos in no split are left out" in said


def test_msvds_splits_by_the_clips_numbers(msvd, config):
    numbers = (1, 1200, 1201, 1970)
    lines = "".join(f"{clip} vid{number}\n" for clip, number in zip(MSVD, numbers, strict=True))
    write(msvd / "youtube_mapping.txt", lines.rstrip())
    tables = make_tables(config("msvd", "dataset.mapping=youtube_mapping.txt"))
    assert tables.images["split"].to_pylist() == ["train", "train", "val", "test"]
    for line, message in (
        (f"{MSVD[0]} vid1971", r"line 1 must read <clip> and vid1 to vid1970, not '.* vid1971'"),
        (f"{MSVD[0]} vid0", "line 1 must read"),
        (MSVD[0], "line 1 must read"),
        (f"{MSVD[0]} vid1\n{MSVD[0]} vid2", "line 2: .* is there twice"),
    ):
        write(msvd / "youtube_mapping.txt", line)
        with pytest.raises(ValueError, match=message):
            make_tables(config("msvd", "dataset.mapping=youtube_mapping.txt"))


def test_malformed_msvd_files_are_refused(msvd, config):
    write(msvd / "val_list.txt", f"{MSVD[0]}.avi\n")
    with pytest.raises(ValueError, match=rf"val_list\.txt, line 1: {MSVD[0]} is there twice, first in train"):
        make_tables(config("msvd"))
    write(msvd / "val_list.txt", "none_1_2\n")
    with pytest.raises(ValueError, match="The clip none_1_2 of split val has no caption"):
        make_tables(config("msvd"))
    write(msvd / "AllVideoDescriptions.txt", f"{HEADER}{MSVD[0]} a cat\na dog\n")
    with pytest.raises(ValueError, match=r"line 5 must read <clip>_<start>_<end>, a blank and the caption"):
        make_tables(config("msvd"))
    write(msvd / "AllVideoDescriptions.txt", f"{HEADER}{MSVD[0]} a cat\n")
    with pytest.raises(ValueError, match="No lists are named"):
        make_tables(config("msvd", *(f"dataset.lists.{split}=null" for split in ("train", "val", "test"))))


VATEX = {"train": "Ptf_2VRj-V0_000122_000132", "val": "-SzG7DwC_ik_000011_000021", "test": "8R6Ga77Uqtg_000112_000122"}
FILES = {"train": "training_v1.0", "val": "validation_v1.0", "test": "public_test_english_v1.1"}


@pytest.fixture
def vatex(tmp_path, videos):
    for split, video in VATEX.items():
        entry = {"videoID": video, "enCap": [f"caption {n}" for n in range(10)], "chCap": ["一只猫"]}
        write(tmp_path / f"vatex/vatex_{FILES[split]}.json", [entry])
    videos(tmp_path / "vatex/videos", f"{VATEX['train']}.mp4", f"test/{VATEX['test']}.mkv")
    return tmp_path / "vatex"


def test_vatex_takes_the_videos_that_are_there(vatex, config, capsys):
    tables = make_tables(config("vatex"))
    assert tables.images["image_id"].to_pylist() == [VATEX["train"], VATEX["test"]]
    assert len(tables.caption_rows("test")) == 10 and not tables.has("captions", "val")
    assert "Videos that are not there were left out: 1 of val; the first: " in capsys.readouterr().out
    chinese = make_tables(config("vatex", "dataset.caption_key=chCap", "dataset.name=chinese"))
    assert chinese.captions["caption"].to_pylist() == ["一只猫"] * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "must be a list of objects with videoID and enCap"),
        ([{"enCap": []}], "entry 0: the field 'videoID' is missing"),
        ([{"videoID": "a_1_2"}], "entry 0: the field 'enCap' is missing"),
        ([{"videoID": "a_1_2", "enCap": "a cat"}], "`enCap` must be a list, not 'a cat'"),
        ([{"videoID": VATEX["train"], "enCap": ["a cat"]}], "is there twice, first in train"),
        ([{"videoID": "a_1_2", "enCap": []}], "holds no captions"),
    ],
)
def test_malformed_vatex_files_are_refused(vatex, config, content, message):
    write(vatex / "vatex_validation_v1.0.json", content)
    with pytest.raises(ValueError, match=message):
        make_tables(config("vatex"))
