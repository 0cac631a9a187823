"""Classes of images, from folders, captions and files."""

import json

import pytest

from evaluation.labels import read_labels


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
