"""Files of captions: the formats people have, round trips, and one clear sentence for everything that is wrong."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.captions.prediction_files import read_predictions, write_predictions
from evaluation.captions.references import read_reference_file

COCO = {
    "images": [{"id": 7, "file_name": "COCO_val2014_000000000007.jpg"}, {"id": 5, "file_name": "b.jpg"}, {"id": 9}],
    "annotations": [
        {"id": 1, "image_id": 5, "caption": "a cat"},
        {"id": 2, "image_id": 7, "caption": "a dog"},
        {"id": 3, "image_id": "7", "caption": "the dog"},
    ],
}


def captions_of_references(*arguments):
    return read_reference_file(*arguments).captions


def karpathy_image(n: int, split: str, **extra: object) -> dict:
    sentences = [{"raw": f"caption {k} of {n}", "tokens": [], "sentid": 5 * n + k} for k in range(2)]
    return {"imgid": n, "split": split, "filename": f"{1000 + n}.jpg", "sentences": sentences} | extra


@pytest.fixture
def write(tmp_path):
    def write(content: object) -> Path:
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


ids = st.text(min_size=1).filter(str.strip)
captions = st.dictionaries(ids | st.integers(0, 10**30).map(str), st.text(), min_size=1)


@given(captions)
def test_predictions_come_back_as_written(predictions):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "predictions.json"
        write_predictions(path, predictions)
        assert read_predictions(path) == predictions
        assert [p.name for p in path.parent.iterdir()] == [path.name]


@given(st.dictionaries(ids, st.lists(st.text(), min_size=1), min_size=1))
def test_plain_references_come_back_as_written(references):
    if isinstance(references.get("images"), list) or "annotations" in references:
        return  # these two ids make another format
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "references.json"
        path.write_text(json.dumps(references))
        assert read_reference_file(path).captions == references


def test_integer_ids_are_written_as_integers(tmp_path):
    write_predictions(tmp_path / "p.json", {"391895": "a", "007": "b", "x.jpg": "c", "-1": "d", "٣": "e"})
    entries = json.loads((tmp_path / "p.json").read_text())
    assert [entry["image_id"] for entry in entries] == [391895, "007", "x.jpg", "-1", "٣"]


def test_predictions_as_list_and_as_object(write):
    expected = {"1": "a", "x": "b"}
    assert (
        read_predictions(write([{"image_id": 1, "caption": "a", "id": 3}, {"image_id": "x", "caption": "b"}]))
        == expected
    )
    assert read_predictions(write({"1": "a", "x": "b"})) == expected


def test_coco_annotations(write):
    expected = {"7": ["a dog", "the dog"], "5": ["a cat"]}
    assert read_reference_file(write(COCO)).captions == expected
    assert list(read_reference_file(write(COCO)).captions) == ["7", "5"]  # the order of `images`
    assert read_reference_file(write({"annotations": COCO["annotations"]})).captions == expected


def test_images_are_named_as_the_predictions_name_them(write):
    path = write(COCO)
    assert list(read_reference_file(path, image_ids=["5", "7"]).captions) == ["7", "5"]
    assert list(read_reference_file(path, image_ids=["b.jpg"]).captions) == ["COCO_val2014_000000000007.jpg", "b.jpg"]
    assert list(read_reference_file(path, image_ids=["b"]).captions) == ["COCO_val2014_000000000007", "b"]
    assert list(read_reference_file(path, image_ids=["nowhere"]).captions) == ["7", "5"]


def test_karpathy_splits(write):
    path = write({"images": [karpathy_image(n, s) for n, s in enumerate(["train", "restval", "val", "test"])]})
    assert list(read_reference_file(path).captions) == ["0", "1", "2", "3"]
    assert (
        list(read_reference_file(path, split="train").captions)
        == list(read_reference_file(path, split="restval").captions)
        == ["0", "1"]
    )
    assert read_reference_file(path, split="test").captions == {"3": ["caption 0 of 3", "caption 1 of 3"]}
    assert list(read_reference_file(path, split="test", image_ids=["1003.jpg"]).captions) == ["1003.jpg"]
    assert (
        read_reference_file(path, split="dev").captions
        == read_reference_file(path, split="Val").captions
        == read_reference_file(path, "val").captions
    )
    with pytest.raises(ValueError, match="no split 'minival': it has test, train, val"):
        read_reference_file(path, split="minival")


def test_karpathy_files_of_coco_use_the_coco_id(write):
    path = write({"images": [karpathy_image(0, "val", cocoid=391895), karpathy_image(1, "val", cocoid=5)]})
    assert list(read_reference_file(path, split="val", image_ids=["391895", "5"]).captions) == ["391895", "5"]


def test_splits_belong_to_karpathy_files(write):
    for content in (COCO, {"1": ["a"]}):
        with pytest.raises(ValueError, match="no split 'val'"):
            read_reference_file(write(content), split="val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not valid JSON .Expecting value: line 1"),
        ('[\n{"image_id": 1, "caption": "a"},\n', "is not valid JSON.*line 3"),
        ("[]", "holds no captions"),
        ("{}", "holds no captions"),
        ('"a"', "must hold a list or an object"),
        ([1], "entry 0 must be an object with `image_id`, not 1"),
        ([{"image_id": 1}], "entry 0 must be an object with `caption`"),
        (
            [{"image_id": 1.5, "caption": "a"}],
            "entry 0: an image id must be an integer or a string, not blank; got 1",
        ),
        ([{"image_id": True, "caption": "a"}], "an image id must be"),
        ([{"image_id": 1, "caption": ["a"]}], r'entry 0: a caption must be a string, not \["a"\]'),
        (
            [{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}],
            "entry 1: image 1 has a caption",
        ),
        ('{"1": "a", "1": "b"}', "the key '1' is there twice"),
        ({"1": None}, "entry '1': a caption must be a string, not null"),
        ({"1": "a" * 500, "2": 3}, "entry '2'"),
    ],
)
def test_malformed_predictions(write, content, message):
    with pytest.raises(ValueError, match=f"file.json.*{message}"):
        read_predictions(write(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "must hold an object of references"),
        ("{}", "holds no references"),
        ({"1": []}, r"image 1 must have a list of captions, not \[\]"),
        ({"1": "a caption"}, "image 1 must have a list of captions"),
        ({"1": ["a", 2]}, "image 1: a caption must be a string, not 2"),
        ({"annotations": {}}, "must be lists"),
        ({"annotations": []}, "holds no references"),
        ({"annotations": [{"image_id": 1}]}, r"annotations\[0\] must be an object with `caption`"),
        ({"images": [{"id": 1}, {"id": "1"}], "annotations": []}, r"images\[1\]: image 1 is there twice"),
        ({"images": [{"imgid": 1}]}, r"images\[0\] must be an object with `split`"),
        ({"images": [karpathy_image(1, "val"), karpathy_image(1, "val")]}, "image 1 is there twice"),
        ({"images": [karpathy_image(1, "val", sentences=[{}])]}, "must be an object with `raw`"),
        ({"images": [karpathy_image(1, "val", sentences=[])]}, "image 1 must have a list of captions"),
        ({"images": []}, "holds no references"),
    ],
)
def test_malformed_references(write, content, message):
    with pytest.raises(ValueError, match=f"file.json.*{message}"):
        read_reference_file(write(content))


def test_missing_and_binary_files(tmp_path):
    for read, option in ((read_predictions, "predictions"), (captions_of_references, "references")):
        with pytest.raises(FileNotFoundError, match=rf"There is no file .*nowhere\.json \(option {option}\)"):
            read(tmp_path / "nowhere.json")
        (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ValueError, match=r"binary\.json is not UTF-8 text"):
            read(tmp_path / "binary.json")
