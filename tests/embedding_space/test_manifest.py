"""Manifests of stores: what is written comes back, earlier versions' files load, and mistakes are named."""

from __future__ import annotations

import json

import pytest

from embedding_space.manifest import StoreManifest
from embedding_space.store import EmbeddingStore

FIRST = {  # as the first version wrote it
    "format": 1,
    "encoder": {"name": "words"},
    "dim": 16,
    "dtype": "float16",
    "rows": {"images": 3, "texts": 6},
    "tables_hash": "a",
    "text_split": "train",
    "text_mean_split": "train",
    "image_mean_split": None,
    "hash": "b",
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"dim": None, "dims": {"images": 3, "texts": 4}},
        {"patches": [49, 512], "unreadable": [2], "cut_texts": 1, "versions": {"torch": "2"}, "command": "python"},
        {"text_splits": ["train", "val"]},
    ],
)
def test_manifests_come_back_as_written(more):
    manifest = StoreManifest.from_json({**FIRST, **more})
    written = manifest.to_json()
    assert StoreManifest.from_json(json.loads(json.dumps(written))) == manifest
    assert {**FIRST, **more}.items() <= written.items() and written["cut_texts"] == more.get("cut_texts", 0)
    later = ("hash", "unreadable", "cut_texts", "versions", "command", "text_splits")
    assert manifest.identity() == {key: value for key, value in written.items() if key not in later}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tables_hsah": "a"}, "tables_hsah: Unexpected"),
        ({"dim": "wide"}, "dim: "),
        ({"rows": {"sounds": 3}}, "rows.sounds"),
        ({"format": 2}, "it has format 2, this code reads 1"),
    ],
)
def test_a_bad_key_is_named_with_its_file(make_store, change, told):
    path = make_store().path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=rf"manifest\.json is damaged \({told}"):
        EmbeddingStore(path.parent)


@pytest.mark.parametrize("key", [key for key in FIRST if key not in ("dtype", "format")])
def test_a_missing_key_is_named(key):
    with pytest.raises(ValueError, match=f"{key}: Field required"):
        StoreManifest.from_json({name: value for name, value in FIRST.items() if name != key})
