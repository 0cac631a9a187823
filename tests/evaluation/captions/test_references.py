"""Reference files: images as predictions name them, NoCaps' domains, and images without captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


def test_images_are_called_as_the_predictions_call_them(read):
    captions = read(COCO, "photos/COCO_val2014_000000000003.jpg").captions
    assert captions["photos/COCO_val2014_000000000003.jpg"] == ["caption of 3"] and len(captions) == 3
    content = {"train/1.jpg": ["a train"], "val/1.jpg": ["a value"]}
    captions = read(content, "/data/val/1.jpg", "/data/train/1.jpg").captions
    assert captions == {"/data/train/1.jpg": ["a train"], "/data/val/1.jpg": ["a value"]}


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
    references = read(content, "1", "3")
    assert list(references.captions) == ["1", "2"] and references.uncaptioned == ["3"]
    assert read({"1": ["a"], "2": []}).uncaptioned == ["2"]
    assert ReferenceSet.of({"1": ["a"], "2": [" ", ""], "3": []}, "here") == ReferenceSet({"1": ["a"]}, ["2", "3"])
    with pytest.raises(ValueError, match="None of the 1 images of here has captions"):
        ReferenceSet.of({"1": [" "]}, "here")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="it is a folder"):
        read_reference_file(Path(tmp_path))
