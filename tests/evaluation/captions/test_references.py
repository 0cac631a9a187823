"""Which image a prediction is of, NoCaps' domains, and images without captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.captions.naming import named_as, names_of
from evaluation.captions.references import read_reference_file
from evaluation.captions.scoring_options import ReferenceSet

COCO = {
    "images": [{"id": n, "file_name": f"COCO_val2014_{n:012}.jpg"} for n in (1, 2, 3)],
    "annotations": [{"image_id": n, "caption": f"caption of {n}"} for n in (1, 2, 3)],
}


@pytest.fixture
def read(tmp_path):
    def read(content: object, *image_ids: str):
        (tmp_path / "r.json").write_text(json.dumps(content))
        return read_reference_file(tmp_path / "r.json", image_ids=image_ids)

    return read


@pytest.mark.parametrize(
    "call",
    [
        lambda n: f"photos/val2014/COCO_val2014_{n:012}.jpg",
        lambda n: f"/data/COCO_val2014_{n:012}.jpg",
        lambda n: f"photos\\COCO_val2014_{n:012}.jpg",
        lambda n: f"./COCO_val2014_{n:012}.jpg",
        lambda n: f"COCO_val2014_{n:012}",
        lambda n: f"resized/COCO_val2014_{n:012}.png",
        lambda n: str(n),
    ],
)
def test_paths_file_names_and_ids_find_their_image(read, call):
    ids = [call(3), call(1)]
    captions = read(COCO, *ids).captions
    assert {image_id: captions[image_id] for image_id in ids} == {ids[0]: ["caption of 3"], ids[1]: ["caption of 1"]}
    assert len(captions) == 3  # the second is there by its own name


def test_folders_tell_files_of_one_name_apart(read):
    content = {"train/1.jpg": ["a train"], "val/1.jpg": ["a value"]}
    captions = read(content, "/data/val/1.jpg", "/data/train/1.jpg").captions
    assert captions == {"/data/train/1.jpg": ["a train"], "/data/val/1.jpg": ["a value"]}
    with pytest.raises(ValueError, match=r"'a/train/1.jpg' and 'b/train/1.jpg' are both its image 'train/1.jpg'"):
        read(content, "a/train/1.jpg", "b/train/1.jpg")
    with pytest.raises(ValueError, match=r"'train/1.jpg' and 'val/1.jpg' are both called '1.jpg'"):
        read(content, "photos/1.jpg")


@given(st.lists(st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}){0,2}\.(jpg|png)", fullmatch=True), min_size=1, unique=True))
def test_an_images_own_name_is_always_its_own(names):
    images = [names_of(str(n), name) for n, name in enumerate(names)]
    assert named_as(images, names) == names
    assert named_as(images, []) == named_as(images, ["nowhere"]) == [str(n) for n in range(len(names))]


def test_domains_are_parts(read):
    nocaps = json.loads(json.dumps(COCO))
    for image, domain in zip(nocaps["images"], ("in-domain", "near-domain", "near-domain"), strict=True):
        image["domain"] = domain
    assert read(nocaps).parts == {"in-domain": ["1"], "near-domain": ["2", "3"]}
    assert read(COCO).parts == {}
    nocaps["images"][1]["domain"] = 5
    with pytest.raises(ValueError, match=r"images\[1\]: a domain must be a string, not 5"):
        read(nocaps)


def test_images_without_captions_are_named(read):
    content = {**COCO, "annotations": COCO["annotations"][:2]}
    found = read(content, "1", "3")
    assert list(found.captions) == ["1", "2"] and found.uncaptioned == ["3"]
    assert read({"1": ["a"], "2": []}).uncaptioned == ["2"]
    assert ReferenceSet.of({"1": ["a"], "2": [" ", ""], "3": []}, "here") == ReferenceSet({"1": ["a"]}, ["2", "3"])
    with pytest.raises(ValueError, match="None of the 1 images of here has captions"):
        ReferenceSet.of({"1": [" "]}, "here")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="it is a folder"):
        read_reference_file(Path(tmp_path))
