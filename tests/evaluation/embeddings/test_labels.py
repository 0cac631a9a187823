"""Classes of images, from folders, captions and files."""

import json

import pytest

from evaluation.embeddings.labels import read_labels


def test_labels_come_from_folders_captions_json_and_csv(make_store, tmp_path):
    store = make_store(images=4)
    ids = store.image_ids("test")
    (tmp_path / "labels.json").write_text(json.dumps({id_: "ba"[n % 2] for n, id_ in enumerate(ids)}))
    names, rows, labels = read_labels(str(tmp_path / "labels.json"), store, "test")
    assert names == ["a", "b"] and rows.tolist() == [0, 1, 2, 3] and labels.tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match="names the class 'b', which is not among"):
        read_labels(str(tmp_path / "labels.json"), store, "test", ["a", "c"])
    (tmp_path / "labels.csv").write_text(f"image_id,class\n{ids[1]},y\n{ids[3]},x\n")
    _, rows, labels = read_labels(str(tmp_path / "labels.csv"), store, "test")
    assert rows.tolist() == [1, 3] and labels.tolist() == [1, 0]
    classes = ["dog", "cat", "boat", "tree", "car", "bird", "house", "star"]
    names, rows, labels = read_labels("captions", store, "val+test", classes)
    captions = store.tables.references("val+test")
    all_ids = store.image_ids("val+test")
    assert names == classes and all(names[n] in captions[all_ids[row]][0] for row, n in zip(rows, labels, strict=True))
    with pytest.raises(ValueError, match="name them with classes="):
        read_labels("captions", store, "test")
    with pytest.raises(ValueError, match="4 images of 'test' 1 classes"):
        read_labels("folder", store, "test")
    with pytest.raises(FileNotFoundError, match="neither 'folder' nor"):
        read_labels("none.json", store, "test")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match="must be JSON"):
        read_labels(str(tmp_path / "list.json"), store, "test")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.json", '{"a": null}', "entry 'a': a class must be a name or a number, not null"),
        ("l.json", '{"a": ["x"]}', "a class must be a name"),
        ("l.json", '{"a": " "}', "a class must be a name"),
        ("l.csv", "image_id,class\na,x,y\n", "line 2 has 3 fields"),
        ("l.csv", "image_id,class\na\n", "line 2 has 1 fields"),
        ("l.csv", "image_id,class\na,x\na,y\n", "line 3: image a has the class 'x' already"),
        ("l.csv", "image_id,label\na,x\n", "line 2 must be an object with `class`"),
        ("l.json", '[{"image_id": null, "class": "x"}]', "entry 0: an image id must be"),
        ("l.jsonl", '{"image_id": "a", "class"', "line 1 is not valid JSON"),
    ],
)
def test_labels_that_cannot_be_read_are_refused(make_store, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"labels=.*{message}"):
        read_labels(str(tmp_path / name), make_store(images=1), "test")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.json", '\ufeff{"test_0": "x", "test_1": 7}'),
        ("l.tsv", "image_id\tclass\ntest_0\tx\ntest_1\t7\n"),
        ("l.csv", "\ufefffile_name, Class\r\ntest_0,x\r\ntest_1,7\r\n"),
        ("l.jsonl", '{"image_id": "test_0", "class": "x"}\n{"image_id": "test_1", "class": 7}\n'),
    ],
)
def test_labels_come_from_every_kind_of_file(make_store, tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    names, rows, labels = read_labels(str(tmp_path / name), make_store(images=2), "test")
    assert names == ["7", "x"] and rows.tolist() == [0, 1] and labels.tolist() == [1, 0]
