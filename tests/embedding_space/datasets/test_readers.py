"""Readers of data sets: tiny files of every format become tables; malformed ones are refused in words."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from common.cli import quote_paths
from embedding_space.datasets import make_tables
from embedding_space.datasets.folders import read_captioned_folder
from embedding_space.tables import Tables


def write(path: Path, content: object = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def photos(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name, "a picture")


def rows(tables: Tables) -> list[tuple]:
    """(image id or None, split, caption) of every caption."""
    ids = tables.images["image_id"].to_pylist()
    return [
        (None if row["image_row"] is None else ids[row["image_row"]], row["split"], row["caption"])
        for row in tables.captions.to_pylist()
    ]


def karpathy_entry(name: str, split: str, *captions: str, **more) -> dict:
    return {"filename": name, "split": split, "sentences": [{"raw": caption} for caption in captions], **more}


@pytest.fixture
def config(tmp_path, compose, monkeypatch):
    """The dataset config of `python scripts/prepare_data.py dataset=<name> <overrides>`, in a fresh data folder."""
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(tmp_path))
    return lambda name, *overrides: compose("prepare_data", f"dataset={name}", *overrides).dataset


@pytest.fixture
def coco(tmp_path):
    folder = tmp_path / "coco"
    entries = [
        karpathy_entry("COCO_train2014_01.jpg", "train", "a  dog\n", "a hound", cocoid=1, filepath="train2014"),
        karpathy_entry("COCO_val2014_02.jpg", "restval", "a cat", " ", cocoid=2, filepath="val2014"),
        karpathy_entry("COCO_val2014_03.jpg", "val", "a boat", cocoid=3, filepath="val2014"),
        karpathy_entry("COCO_val2014_04.jpg", "test", "a car", cocoid=4, filepath="val2014"),
    ]
    write(folder / "dataset_coco.json", {"images": entries})
    photos(folder, *(f"{entry['filepath']}/{entry['filename']}" for entry in entries))
    return folder


def test_karpathys_coco_merges_restval_into_train_unless_told_otherwise(coco, config):
    tables = make_tables(config("coco"))
    assert rows(tables) == [
        ("1", "train", "a dog"),
        ("1", "train", "a hound"),
        ("2", "train", "a cat"),  # its second caption is blank
        ("3", "val", "a boat"),
        ("4", "test", "a car"),
    ]
    assert tables.images["path"].to_pylist()[0] == "train2014/COCO_train2014_01.jpg"
    apart = make_tables(config("coco", "dataset.merge_restval=false"))
    assert apart.images["split"].to_pylist() == ["train", "restval", "val", "test"]
    assert len(apart.caption_rows("train+restval")) == 3


def test_karpathys_flickr_names_images_by_their_files(tmp_path, config):
    folder = tmp_path / "flickr30k"
    write(folder / "dataset_flickr30k.json", {"images": [karpathy_entry("36979.jpg", "test", "two men", imgid=7)]})
    photos(folder, "flickr30k-images/36979.jpg")
    assert rows(make_tables(config("flickr30k"))) == [("36979", "test", "two men")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"dataset_coco\.json is not valid JSON"),
        ({"annotations": []}, "a list 'images'"),
        ({"images": [{"filename": "a.jpg", "split": "train"}]}, r"images\[0\]: the field 'sentences' is missing"),
        ({"images": [karpathy_entry("a.jpg", "training")]}, "the split 'training' is none of"),
        ({"images": [karpathy_entry("a.jpg", "train", 5)]}, "a caption must be text, not 5"),
        (
            {"images": [karpathy_entry("a.jpg", "train", "x"), karpathy_entry("a.jpg", "test", "y")]},
            r"'a' occurs more than once .*split train and test",
        ),
    ],
)
def test_malformed_karpathy_files_are_refused(tmp_path, config, content, message):
    write(tmp_path / "coco" / "dataset_coco.json", content)
    photos(tmp_path / "coco", "a.jpg")
    with pytest.raises(ValueError, match=message):
        make_tables(config("coco"))
    assert not list((tmp_path / "coco").glob("*.parquet*"))


def test_a_missing_file_names_the_option_and_where_to_get_it(tmp_path, config):
    with pytest.raises(FileNotFoundError, match=r"no .*dataset_coco\.json.*dataset\.source=.*data/README\.md"):
        make_tables(config("coco"))


def test_missing_photos_are_counted_or_left_out(coco, config):
    (coco / "train2014/COCO_train2014_01.jpg").unlink()
    (coco / "val2014/COCO_val2014_04.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of those in .*dataset\.missing_images=leave_out"):
        make_tables(config("coco"))
    tables = make_tables(config("coco", "dataset.missing_images=leave_out"))
    assert tables.images["image_id"].to_pylist() == ["2", "3"]
    assert rows(tables)[:2] == [(None, "train", "a dog"), (None, "train", "a hound")]
    assert not tables.has("captions", "test")
    with pytest.raises(ValueError, match="missing_images='ignore' must be one of error, leave_out"):
        make_tables(config("coco", "dataset.missing_images=ignore"))


def test_official_coco_files_one_a_split(tmp_path, config):
    folder = tmp_path / "coco_official"
    for split, number in (("train", 9), ("val", 139)):
        content = {
            "images": [{"id": number, "file_name": f"{number:012}.jpg"}],
            "annotations": [{"image_id": number, "caption": f"{split} {n}", "id": n} for n in range(2)],
        }
        write(folder / f"annotations/captions_{split}2017.json", content)
        photos(folder, f"{split}2017/{number:012}.jpg")
    tables = make_tables(config("coco_official"))
    assert rows(tables) == [
        (str(number), split, f"{split} {n}") for split, number in (("train", 9), ("val", 139)) for n in range(2)
    ]
    only_val = make_tables(config("coco_official", "dataset.annotations.train=null"))
    assert only_val.images["image_id"].to_pylist() == ["139"]
    with pytest.raises(ValueError, match=r"dataset\.images\.test is missing"):
        make_tables(config("coco_official", "dataset.annotations.test=x.json"))
    with pytest.raises(ValueError, match="No annotations are named"):
        make_tables(config("coco_official", "dataset.annotations.train=null", "dataset.annotations.val=null"))


def test_one_image_in_two_official_files_is_an_overlap(tmp_path, config):
    content = {"images": [{"id": 9, "file_name": "9.jpg"}], "annotations": []}
    for split in ("train", "val"):
        write(tmp_path / f"coco_official/annotations/captions_{split}2017.json", content)
        photos(tmp_path / "coco_official", f"{split}2017/9.jpg")
    with pytest.raises(ValueError, match=r"'9' occurs more than once .*split train and val.*no two splits"):
        make_tables(config("coco_official"))


def nocaps_content() -> dict:
    domains = ("in-domain", "near-domain", "out-domain", "near-domain")
    return {
        "images": [{"id": n, "file_name": f"{n}.jpg", "domain": domain} for n, domain in enumerate(domains)],
        "annotations": [{"image_id": n, "caption": f"a thing {n}", "id": n} for n in range(4)],
    }


def test_nocaps_domains_are_parts_of_val(tmp_path, config):
    write(tmp_path / "nocaps/nocaps_val_4500_captions.json", nocaps_content())
    photos(tmp_path / "nocaps", *(f"images/{n}.jpg" for n in range(4)))
    tables = make_tables(config("nocaps"))
    assert tables.parts("val") == ["val/in-domain", "val/near-domain", "val/out-domain"]
    assert tables.image_rows("val").tolist() == [0, 1, 2, 3]
    assert tables.image_rows("val/near-domain").tolist() == [1, 3]
    assert tables.references("val/in-domain+val/out-domain") == {"0": ["a thing 0"], "2": ["a thing 2"]}


def test_captions_of_an_image_that_is_not_listed_are_refused(tmp_path, config):
    content = nocaps_content()
    content["annotations"].append({"image_id": 77, "caption": "lost"})
    write(tmp_path / "nocaps/nocaps_val_4500_captions.json", content)
    photos(tmp_path / "nocaps", *(f"images/{n}.jpg" for n in range(4)))
    with pytest.raises(ValueError, match="captions of image 77"):
        make_tables(config("nocaps"))


@pytest.fixture
def flickr8k(tmp_path):
    folder = tmp_path / "flickr8k"
    numbers = {"train": range(1, 11), "dev": [21], "test": [31]}
    names = {split: [f"{n}_0123456789.jpg" for n in some] for split, some in numbers.items()}
    listed = [name for some in names.values() for name in some]
    lines = [f"{name}#{n}\tcaption {n} of {name[:2]} .\n" for name in listed for n in range(5)]
    lines += ["99_aa.jpg#0\tin no list\n", "98_aa.jpg.1#0\tdoes not exist\n"]
    write(folder / "Flickr8k.token.txt", "".join(lines))
    for split, some in names.items():
        write(folder / f"Flickr_8k.{split}Images.txt", "\n".join(some) + "\n")
    photos(folder / "images", *listed, "99_aa.jpg")
    return folder


def test_flickr8ks_own_files_and_what_is_left_out(flickr8k, config, capsys):
    tables = make_tables(config("flickr8k"))
    assert Counter(tables.images["split"].to_pylist()) == {"train": 10, "val": 1, "test": 1}
    assert len(tables.captions) == 60 and rows(tables)[-1] == ("31_0123456789", "test", "caption 4 of 31 .")
    said = capsys.readouterr().out
    assert "2 captions of 1 photos in no split list and of 1 photos that do not exist are left out" in said


def test_half_of_train_becomes_pairs_by_the_ids_alone(flickr8k, config):
    tables = make_tables(config("flickr8k_photos"))
    split_of = dict(zip(tables.images["image_id"].to_pylist(), tables.images["split"].to_pylist(), strict=True))
    assert Counter(split_of.values()) == {"pairs": 5, "train": 5, "val": 1, "test": 1}
    assert len(tables.caption_rows("pairs")) == len(tables.caption_rows("train")) == 25
    owners = tables.captions["image_row"].take(tables.caption_rows("train")).to_pylist()
    assert set(owners) == set(tables.image_rows("train").tolist())  # captions stay with their photos
    lists = flickr8k / "Flickr_8k.trainImages.txt"
    lists.write_text("\n".join(reversed(lists.read_text().split())))
    again = make_tables(config("flickr8k_photos"))
    assert split_of == dict(zip(again.images["image_id"].to_pylist(), again.images["split"].to_pylist(), strict=True))
    with pytest.raises(ValueError, match=r"pairs_fraction=1\.5 must be null or a number, above 0 and below 1"):
        make_tables(config("flickr8k_photos", "dataset.pairs_fraction=1.5"))


def test_malformed_flickr8k_files_are_refused(flickr8k, config):
    write(flickr8k / "Flickr_8k.devImages.txt", "unknown.jpg\n")
    with pytest.raises(ValueError, match=r"devImages\.txt, line 1: 'unknown\.jpg' has no caption"):
        make_tables(config("flickr8k"))
    write(flickr8k / "Flickr8k.token.txt", "1.jpg a caption\n")
    with pytest.raises(ValueError, match=r"line 1 must read photo\.jpg#0, a tab"):
        make_tables(config("flickr8k"))


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv"])
def test_a_folder_of_photos_with_captions(tmp_path, config, ending):
    lines = [("a b.jpg", "a dog, running", "train"), ("a b.jpg", "a hound", "train"), ("sub/c.png", "a cat", "")]
    if ending == "jsonl":
        content = "".join(json.dumps({"photo": i, "words": [c], "part": s}) + "\n" for i, c, s in lines)
    else:
        comma = "," if ending == "csv" else "\t"
        content = comma.join(("photo", "words", "part")) + "\n"
        content += "".join(comma.join((i, f'"{c}"', s)) + "\n" for i, c, s in lines)
    write(tmp_path / f"mine/my captions.{ending}", content)
    photos(tmp_path / "mine", "a b.jpg", "sub/c.png")
    keys = ("dataset.image_key=photo", "dataset.text_key=words", "dataset.split_key=part", "dataset.split=test")
    tables = make_tables(config("folder", "dataset.name=mine", f"dataset.captions='my captions.{ending}'", *keys))
    assert rows(tables) == [
        ("a b.jpg", "train", "a dog, running"),
        ("a b.jpg", "train", "a hound"),
        ("sub/c.png", "test", "a cat"),
    ]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_captions_saved_with_a_byte_order_mark_are_read_and_other_encodings_refused(tmp_path, config, ending):
    content = "image,caption\na.jpg,naïve\n" if ending == "csv" else '{"image": "a.jpg", "caption": "naïve"}\n'
    path = write(tmp_path / f"mine/captions.{ending}", "\ufeff" + content)
    photos(tmp_path / "mine", "a.jpg")
    options = "folder", "dataset.name=mine", f"dataset.captions=captions.{ending}"
    assert rows(make_tables(config(*options))) == [("a.jpg", "train", "naïve")]
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"captions\.{ending} is not UTF-8 text"):
        list(read_captioned_folder(tmp_path / "mine", path.name, ".", "train", "image", "caption", "split"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.csv", f"image,caption\na.jpg,{'x' * 200_000}\n", r"captions\.csv, line 2 is no CSV: field larger"),
        ("captions.jsonl", '{"image": "a.jpg"}\n', "line 1: the field 'caption' is missing"),
        ("captions.jsonl", "oops\n", "line 1 is not valid JSON"),
        ("captions.jsonl", "[1]\n", "line 1 must be a JSON object"),
        ("captions.csv", "image,text\na.jpg,a dog\n", "line 2: the field 'caption' is missing"),
        ("captions.xlsx", "", r"must end in \.jsonl, \.csv or \.tsv"),
    ],
)
def test_malformed_captions_of_a_folder_are_refused(tmp_path, config, name, content, message):
    write(tmp_path / "mine" / name, content)
    photos(tmp_path / "mine", "a.jpg")
    with pytest.raises(ValueError, match=message):
        make_tables(config("folder", "dataset.name=mine", f"dataset.captions={name}"))


def test_folders_of_photos_alone(tmp_path, config):
    photos(tmp_path / "holiday", "b.JPG", "a/1.png", "notes.txt")
    where = f"dataset.source='{tmp_path}'"
    tables = make_tables(config("images", where, "dataset.images.train=holiday"))
    assert tables.images["image_id"].to_pylist() == ["holiday/a/1.png", "holiday/b.JPG"]
    assert tables.image_paths(tables.image_rows("train"))[0].samefile(tmp_path / "holiday/a/1.png")
    assert len(tables.captions) == 0
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*dataset\.images\.test"):
        make_tables(config("images", where, "dataset.images.test=nowhere"))
    with pytest.raises(ValueError, match="No folder of photos is named"):
        make_tables(config("images"))


def test_text_alone(tmp_path, config):
    write(tmp_path / "a.txt", "a dog\n\n  a   cat \r\n")
    write(tmp_path / "b.jsonl", '{"caption": ["one", "two"]}\n{"caption": "three"}\n')
    write(tmp_path / "c.txt", "a car\n")
    train = f"dataset.texts.train=['{tmp_path}/a.txt','{tmp_path}/b.jsonl']"
    tables = make_tables(config("text", train, f"dataset.texts.val='{tmp_path}/c.txt'", "dataset.name=x"))
    assert [(split, caption) for _, split, caption in rows(tables)] == [
        ("train", "a dog"),
        ("train", "a cat"),
        ("train", "one"),
        ("train", "two"),
        ("train", "three"),
        ("val", "a car"),
    ]
    with pytest.raises(ValueError, match=r"'a:1#0' occurs more than once .*split train and val"):
        make_tables(config("text", train, f"dataset.texts.val='{tmp_path}/a.txt'", "dataset.name=x"))


def extra(tmp_path, config, content: str, *overrides: str) -> list[str]:
    file = write(tmp_path / "more text.jsonl", content)
    tables = make_tables(config("flickr8k_photos_extra", f"dataset.extra_text=['{file}']", *overrides))
    assert len(tables.caption_rows("train+extra")) == 25 + len(tables.caption_rows("extra"))
    return [caption for _, split, caption in rows(tables) if split == "extra"]


EXTRA = (
    '{"image": "21.jpg", "captions": ["of a dev photo"]}\n'
    '{"image": "1.jpg", "captions": ["of a train photo"]}\n'
    '{"image": "COCO_val2014_000000000031.jpg", "captions": ["of a test photo"]}\n'
    '{"captions": ["Caption 3 of 31.", "new"]}\n'
)


def test_extra_text_leaves_held_out_photos_and_captions_out(flickr8k, tmp_path, config, capsys):
    assert extra(tmp_path, config, EXTRA) == ["of a train photo", "new"]
    assert "3 extra captions that validation or test photos have too were left out" in capsys.readouterr().out
    assert len(extra(tmp_path, config, EXTRA, "dataset.drop_held_out=false")) == 5


def test_line_numbers_of_extra_text_are_no_photos(coco, tmp_path, config):
    """COCO's ids are numbers, too: 3 and 4 are held out."""
    plain = write(tmp_path / "plain.txt", "".join(f"sentence {n}\n" for n in range(1, 7)))
    about = [{"image": n, "captions": f"of {n}, {k}"} for n in (1, 3) for k in "ab"] + [{"captions": "of none"}]
    keyed = write(tmp_path / "keyed.jsonl", "".join(json.dumps(entry) + "\n" for entry in about))
    keys = ("++dataset.text_key=captions", "++dataset.image_key=image")
    tables = make_tables(config("coco", f"dataset.extra_text=['{plain}','{keyed}']", *keys))
    texts = [caption for _, split, caption in rows(tables) if split == "extra"]
    assert texts == [f"sentence {n}" for n in range(1, 7)] + ["of 1, a", "of 1, b", "of none"]


def test_extra_text_without_its_key_or_file_is_refused(flickr8k, tmp_path, config):
    with pytest.raises(ValueError, match="line 1: the field 'captions' is missing"):
        extra(tmp_path, config, '{"caption": "a dog"}\n')
    with pytest.raises(ValueError, match=r"name the key .* dataset\.text_key"):
        extra(tmp_path, config, EXTRA, "dataset.text_key=null")
    with pytest.raises(FileNotFoundError, match=r"no .*none\.txt \(option dataset\.extra_text\)"):
        make_tables(config("flickr8k_photos_extra", f"dataset.extra_text=['{tmp_path}/none.txt']"))


@pytest.mark.parametrize(
    ("typed", "files"),
    [("my text (1).txt", "my text (1).txt"), ("[a.txt]", ["a.txt"]), ("[a.txt,'b c.txt']", ["a.txt", "b c.txt"])],
)
def test_one_file_of_any_name_or_a_list_is_taken_from_the_command_line(config, monkeypatch, typed, files):
    monkeypatch.setattr("sys.argv", ["prepare_data.py", f"dataset.extra_text={typed}"])
    quote_paths()
    assert config("flickr8k", sys.argv[1]).extra_text == files


def test_an_option_of_another_kind_is_refused(flickr8k, config):
    with pytest.raises(ValueError, match=r"dataset\.merge_restval is no option of kind=flickr8k"):
        make_tables(config("flickr8k", "+dataset.merge_restval=true"))
    with pytest.raises(ValueError, match="lacks the key images"):
        make_tables(config("flickr8k", "~dataset.images"))
    with pytest.raises(
        ValueError,
        match=r"Unknown kind of data set 'flickr9k' \(option dataset\.kind\); .*mean flickr8k\?",
    ):
        make_tables(config("flickr8k", "dataset.kind=flickr9k"))


def test_tables_that_embeddings_were_made_from_are_kept(flickr8k, config):
    tables = make_tables(config("flickr8k"))
    write(tables.root / "clip/manifest.json", "{}")
    assert make_tables(config("flickr8k")).hash == tables.hash
    with pytest.raises(ValueError, match=r"holds embeddings \(clip\) of other tables.*dataset\.root="):
        make_tables(config("flickr8k", "dataset.pairs_fraction=0.5"))
    assert make_tables(config("flickr8k")).hash == tables.hash


@pytest.mark.shared
def test_the_real_flickr8k(tmp_path, config):
    shared = Path(os.environ.get("DIFFUSION_BRIDGE_SHARED", Path(__file__).resolve().parents[4] / "shared"))
    if not (shared / "flickr8k/Flickr8k.token.txt").is_file():
        pytest.skip("Flickr8k is not here")
    source = f"dataset.source='{shared / 'flickr8k'}'"
    lines = (shared / "flickr8k/Flickr8k.token.txt").read_text().splitlines()
    real = sum((shared / "flickr8k/images" / line.split("#")[0]).is_file() for line in lines)
    assert (len(lines), real) == (40_460, 40_455)
    tables = make_tables(config("flickr8k", source))
    assert Counter(tables.images["split"].to_pylist()) == {"train": 6000, "val": 1000, "test": 1000}
    assert len(tables.captions) == 40_000  # 455 are of the 91 photos in no split
    halves = make_tables(config("flickr8k_photos", source))
    assert Counter(halves.images["split"].to_pylist()) == {"pairs": 3000, "train": 3000, "val": 1000, "test": 1000}
    corpora = [shared / f"text_corpora/{name}_karpathy_test.jsonl" for name in ("coco", "flickr30k")]
    files = ",".join(f"'{path}'" for path in corpora)
    more = make_tables(config("flickr8k_photos_extra", source, f"dataset.extra_text=[{files}]"))
    assert 29_000 < len(more.caption_rows("extra")) < 30_010
