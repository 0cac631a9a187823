"""Data sets of one's own, whole: splits, side-car texts, odd file names, and what preparing says of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from comparison.prepare_data import prepare
from embedding_space.datasets import make_tables
from embedding_space.datasets.folders import read_captioned_folder, read_image_folders
from embedding_space.tables import TableWriter, read_tables, write_tables


def write(path: Path, content: str = "a picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path, compose, monkeypatch):
    """The dataset config of `python scripts/prepare_data.py dataset=<name> <overrides>`, in a fresh data folder."""
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(tmp_path))
    return lambda name, *overrides: compose("prepare_data", f"dataset={name}", *overrides).dataset


@pytest.fixture
def mine(tmp_path, config):
    """Tables of the folder `mine` with pictures 0.jpg to 7.jpg and a file of captions."""
    for number in range(8):
        write(tmp_path / f"mine/photos/{number}.jpg")

    def make(content: str, *overrides: str, name: str = "captions.csv"):
        write(tmp_path / "mine" / name, content)
        return make_tables(config("folder", "dataset.name=mine", f"dataset.captions={name}", *overrides))

    return make


SPLITS = ("train", "Test", "TEST", "valid", "testing", "eval", "Dev", "test-dev")


def test_held_out_splits_in_any_spelling_drop_extra_text(mine, tmp_path, capsys):
    lines = "".join(f"photos/{n}.jpg,a picture {n},{split}\n" for n, split in enumerate(SPLITS))
    more = write(tmp_path / "more.txt", "".join(f"A picture {n}!\n" for n in range(9)))
    tables = mine(f"image,caption,split\n{lines}", f"dataset.extra_text=['{more}']")
    assert tables.captions.slice(8)["caption"].to_pylist() == ["A picture 0!", "A picture 8!"]
    assert len(tables.image_rows("test")) == 3 and len(tables.image_rows("val")) == 2
    printed = capsys.readouterr().out
    assert "7 extra captions" in printed and "test (written as TEST, Test, testing): 3 photos, 3 captions" in printed


@pytest.mark.parametrize("option", ["dataset.text_split=train+valid", "dataset.image_mean_split=Test"])
def test_held_out_training_splits_are_refused_before_anything_is_read(tmp_path, compose, option):
    with pytest.raises(ValueError, match=r"dataset\.\w+_split=.* held-out data"):
        prepare(compose("prepare_data", "dataset=folder", option, "encode=false", f"output_dir={tmp_path}/o"))


def test_text_that_a_file_marks_as_held_out_stays_out_of_training(tmp_path, config, capsys):
    file = write(tmp_path / "a.csv", "caption,split\na dog,train\na cat,Test\na bird,\n")
    tables = make_tables(config("text", "dataset.name=t", f"dataset.texts.train='{file}'"))
    assert tables.captions["caption"].to_pylist() == ["a dog", "a bird"]
    assert "1 entries that the file marks as validation or test text are left out" in capsys.readouterr().out


def test_photos_without_captions_are_named_where_others_have_some(mine, tmp_path, config, capsys):
    lines = [{"image": f"photos/{n}.jpg", "caption": "  " if n in (5, 6) else "a house"} for n in range(8)]
    content = "".join(json.dumps({**line, "split": "test"}) + "\n" for line in lines)
    mine(content, name="captions.jsonl")
    told = "photos without a caption, which no evaluation can score: 2 (photos/5.jpg, photos/6.jpg)"
    assert told in capsys.readouterr().out
    make_tables(config("tables", "dataset.name=mine"))  # one's own tables, too
    assert told in capsys.readouterr().out
    make_tables(config("images", "dataset.name=i", f"dataset.source='{tmp_path}'", "dataset.images.train=mine/photos"))
    assert "without a caption" not in capsys.readouterr().out


def test_one_picture_under_two_names_is_refused(mine, tmp_path):
    absolute = tmp_path / "mine/photos/0.jpg"
    with pytest.raises(ValueError, match=r"0\.jpg is there under two ids, 'photos/0\.jpg' \(split train\)"):
        mine(f"image,caption,split\nphotos/0.jpg,a,train\n{absolute},b,test\n")
    assert mine(f"image,caption\n{absolute},b\n").images["path"].to_pylist() == ["photos/0.jpg"]


def test_names_written_on_windows_are_read(mine):
    assert mine("image,caption\nphotos\\0.jpg,a\n").images["path"].to_pylist() == ["photos/0.jpg"]


def test_missing_pictures_are_named_and_nothing_at_all_is_refused(mine):
    with pytest.raises(FileNotFoundError, match=r"1 of those in .*the first: .*photos/9\.jpg"):
        mine("image,caption\nphotos/0.jpg,a\nphotos/9.jpg,b\n")
    with pytest.raises(ValueError, match="Nothing is left"):
        mine("image,caption,split\nphotos/9.jpg,b,test\n", "dataset.missing_images=leave_out")


def test_hugging_faces_metadata_names_files_beside_it(mine, tmp_path):
    write(tmp_path / "mine/train/a.png")
    tables = mine("file_name,text\na.png,a dog\n", name="train/metadata.csv")
    assert tables.images["path"].to_pylist() == ["train/a.png"]


def sidecars(tmp_path: Path) -> Path:
    shard = tmp_path / "mine/00000"
    for number, caption in enumerate(("a dog", "a\n cat", "", None)):
        write(shard / f"{number:09}.jpg")
        if caption is not None:
            write(shard / f"{number:09}.txt", caption)
            write(shard / f"{number:09}.json", json.dumps({"caption": caption or None, "status": "success"}))
    write(shard / "000000007.txt", "its download failed")
    write(tmp_path / "mine/00000_stats.json", "{}")
    return shard


def test_side_car_texts_of_img2dataset(tmp_path, config, capsys):
    shard = sidecars(tmp_path)
    for captions in ("null", ".", "00000"):
        tables = make_tables(config("folder", "dataset.name=mine", f"dataset.captions={captions}"))
        assert tables.captions["caption"].to_pylist() == ["a dog", "a cat"]
        assert tables.images["image_id"].to_pylist() == [f"00000/{n:09}.jpg" for n in range(4)]
    printed = capsys.readouterr().out
    assert "4 entries, 4 photos, 2 captions" in printed and "1 texts without a picture are left out" in printed
    assert "which no evaluation can score: 2 (00000/000000002.jpg" in printed
    write(shard / "000000000.txt", "another dog")
    with pytest.raises(ValueError, match=r"000000000\.txt and the caption in 000000000\.json say different things"):
        make_tables(config("folder", "dataset.name=mine", "dataset.captions=null"))
    (shard / "000000000.json").unlink()
    write(shard / "000000000.txt", "a dog\na hound")
    with pytest.raises(ValueError, match="has 2 lines, which may be one caption or several"):
        make_tables(config("folder", "dataset.name=mine", "dataset.captions=null"))
    write(shard / "000000000.png")
    with pytest.raises(ValueError, match="two files of one name"):
        make_tables(config("folder", "dataset.name=mine", "dataset.captions=null"))


def test_names_that_are_not_utf8_are_refused_at_once(tmp_path, config):
    folder = write(tmp_path / "photos/0.jpg").parent
    name = os.fsencode(folder) + b"/caf\xe9.jpg"
    try:
        Path(os.fsdecode(name)).write_bytes(b"a picture")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    with pytest.raises(ValueError, match=r"1 pictures have names that are not UTF-8.*caf\\xe9\.jpg.*rename"):
        make_tables(config("images", "dataset.name=x", f"dataset.source='{tmp_path}'", "dataset.images.train=photos"))
    with pytest.raises(ValueError, match=r"The path of 'a' cannot be written .*rename the file"):
        write_tables(tmp_path / "d", [{"image_id": "a", "path": os.fsdecode(name), "split": "train"}], [])


def test_folders_and_companions_that_are_no_pictures_are_passed_over(tmp_path, config):
    for name in ("photos/0.jpg", "photos/._0.jpg", "photos/folder.jpg/1.png"):
        write(tmp_path / name)
    tables = make_tables(config("images", f"dataset.source='{tmp_path}'", "dataset.images.train=photos"))
    assert tables.images["image_id"].to_pylist() == ["photos/0.jpg", "photos/folder.jpg/1.png"]


def test_links_that_lead_nowhere_are_left_out_and_counted(tmp_path, config, capsys):
    write(tmp_path / "photos/0.jpg")
    (tmp_path / "photos/1.jpg").symlink_to("nowhere.jpg")
    tables = make_tables(config("images", f"dataset.source='{tmp_path}'", "dataset.images.train=photos"))
    assert tables.images["image_id"].to_pylist() == ["photos/0.jpg"]
    assert "1 pictures are links that lead nowhere, such as" in capsys.readouterr().out


@pytest.mark.parametrize("first", [True, False])
def test_ids_of_annotations_are_numbers_or_text_alike(tmp_path, config, first):
    source = tmp_path / "nocaps"
    write(source / "images/1.jpg")
    ids = (1, "1") if first else ("1", 1)
    content = {
        "images": [{"id": ids[0], "file_name": "1.jpg", "domain": "In-Domain"}],
        "annotations": [{"image_id": ids[1], "caption": "a dog"}],
    }
    write(source / "nocaps_val_4500_captions.json", "\ufeff" + json.dumps(content))
    tables = make_tables(config("nocaps"))
    assert tables.references("val/in-domain") == {"1": ["a dog"]}
    for key, bad in (("id", None), ("id", 1.0), ("id", [1]), ("id", True), ("file_name", 5), ("domain", 3)):
        entry = {**content["images"][0], key: bad}
        write(source / "nocaps_val_4500_captions.json", json.dumps({**content, "images": [entry]}))
        with pytest.raises(ValueError, match=rf"nocaps_val_4500_captions\.json, images\[0\]: .*{key}"):
            make_tables(config("nocaps"))


@pytest.mark.parametrize("bad", [None, True, 1.5, [], {}])
def test_cocoids_that_are_no_ids_are_refused(tmp_path, config, bad):
    entry = {"filename": "1.jpg", "split": "train", "cocoid": bad, "sentences": [{"raw": "a dog"}]}
    write(tmp_path / "coco/dataset_coco.json", json.dumps({"images": [entry]}))
    with pytest.raises(ValueError, match=r"dataset_coco\.json, images\[0\]: an image's id must be"):
        make_tables(config("coco"))


def test_damaged_tables_are_refused_by_their_name(tmp_path):
    write(tmp_path / "images.parquet", "no table")
    with pytest.raises(ValueError, match=r"images\.parquet is damaged or no Parquet file"):
        read_tables(tmp_path)


def test_half_a_character_in_ones_own_rows_is_refused_by_its_id(tmp_path):
    with pytest.raises(ValueError, match="The caption of 'c7' cannot be written"), TableWriter(tmp_path) as writer:
        writer.caption("c7", None, "half \ud83d", "train")


@pytest.mark.parametrize(("medium", "kept"), [("image", "a.jpg"), ("sound", "a.ogg"), ("video", "a.mp4")])
def test_the_medium_decides_which_files_of_a_folder_are_taken(tmp_path, medium, kept):
    for name in ("a.jpg", "a.ogg", "a.mp4", "a.txt", "._a.mp4"):
        (tmp_path / name).write_text("a caption")
    alone = [photo.path.name for photo in read_image_folders(tmp_path, {"train": "."}, medium)]
    beside = list(read_captioned_folder(tmp_path, None, ".", "train", "image", "caption", "split", medium))
    assert alone == [photo.path.name for photo in beside] == [kept] and beside[0].captions == ("a caption",)
    with pytest.raises(ValueError, match=r"dataset\.medium='film' must be one of image, sound, video"):
        list(read_image_folders(tmp_path, {"train": "."}, "film"))
