"""Stores with fewer captions: the same rows, another text split and text mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedding_space.fewer_captions import with_fewer_captions
from embedding_space.store import EmbeddingStore


def test_only_the_drawn_captions_are_left_to_learn_from(make_store, tmp_path):
    store = make_store(texts=40, images=5)
    few = with_fewer_captions(store, 10, tmp_path / "data/tiny_few")
    assert few.path == tmp_path / "data/tiny_few/words" and few.hash != store.hash
    rows, everything = few.tables.caption_rows("train"), store.tables.caption_rows("train")
    assert len(rows) == 10 and np.isin(rows, everything).all()
    assert torch.equal(few.texts("train"), store.texts("train")[np.searchsorted(everything, rows)])
    assert torch.allclose(few.mean("text"), few.texts("train").mean(0), atol=1e-3)
    assert torch.equal(few.mean("image"), store.mean("image"))
    for split in ("val", "test"):
        assert few.captions(split) == store.captions(split) and few.image_ids(split) == store.image_ids(split)
        assert few.tables.references(split) == store.tables.references(split)
        assert torch.equal(few.images(split), store.images(split))
    paths = few.tables.image_paths(few.tables.image_rows("test"))
    assert all(path.is_file() for path in paths)
    assert len(few.captions("left_out")) == 30


def test_the_fewer_are_among_the_more_and_all_are_as_before(make_store, tmp_path):
    store = make_store(texts=40, images=5)
    made = {count: with_fewer_captions(store, count, tmp_path / f"data/few{count}") for count in (5, 20, 40)}
    rows = {count: set(few.tables.caption_rows("train").tolist()) for count, few in made.items()}
    assert rows[5] < rows[20] < rows[40] == set(store.tables.caption_rows("train").tolist())
    assert torch.allclose(made[40].mean("text"), store.mean("text"), atol=1e-6)
    other = with_fewer_captions(store, 5, tmp_path / "data/other", seed=1)
    assert set(other.tables.caption_rows("train").tolist()) != rows[5]


def test_a_second_call_reuses_and_another_one_is_refused(make_store, tmp_path):
    store, root = make_store(texts=40, images=5), tmp_path / "data/few"
    first = with_fewer_captions(store, 5, root)
    before = (first.path / "manifest.json").stat().st_mtime_ns
    assert with_fewer_captions(EmbeddingStore(store.path), 5, root).hash == first.hash
    assert (first.path / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"'captions': 5.* not .*'captions': 6.*: delete"):
        with_fewer_captions(store, 6, root)
    for count in (0, 41):
        with pytest.raises(ValueError, match=rf"{count} captions of .*'train' are wanted; it has 40"):
            with_fewer_captions(store, count, tmp_path / "data/none")
