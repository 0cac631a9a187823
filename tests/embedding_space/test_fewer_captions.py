"""Views of a store with fewer captions: the same rows, another text split, text mean and hash."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from embedding_space.store import EmbeddingStore
from embedding_space.tables import write_tables
from embedding_space.write_store import write_store


def copied(store: EmbeddingStore, count: int, root, encoder) -> EmbeddingStore:
    """The slow way: tables in which the captions that are not drawn have another split, encoded again."""
    rows = store.tables.caption_rows(store.text_split)
    captions, images = store.tables.captions.to_pylist(), store.tables.images.to_pylist()
    for row in rows[np.random.default_rng(0).permutation(len(rows))[count:]]:
        captions[row]["split"] = "left_out"
    for image in images:
        image["path"] = str(store.tables.root / image["path"])
    write_tables(root, images, captions)
    return write_store(root, encoder, "words", store.text_split, store.manifest.image_mean_split)


def test_a_view_is_what_a_store_of_so_many_captions_would_be(make_store, word_encoder, tmp_path):
    store = make_store(texts=40, images=5)
    few, slow = store.with_captions(10), copied(store, 10, tmp_path / "slow", word_encoder(16))
    assert few.captions("train") == slow.captions("train") and len(few.captions("train")) == 10
    assert torch.equal(few.texts("train"), slow.texts("train"))
    drawn = F.normalize(slow.texts("train").double(), dim=-1).mean(0).float()
    assert torch.equal(few.mean("text"), drawn) and torch.allclose(few.mean("text"), slow.mean("text"), atol=1e-7)
    assert torch.equal(few.mean("image"), store.mean("image"))
    for split in ("val", "test"):
        assert few.captions(split) == store.captions(split) and few.image_ids(split) == store.image_ids(split)
        assert few.tables.references(split) == store.tables.references(split)
        assert torch.equal(few.images(split), store.images(split)) and torch.equal(few.texts(split), store.texts(split))
        assert np.array_equal(few.pairs(split), store.pairs(split))
    assert all(path.is_file() for path in few.tables.image_paths(few.tables.image_rows("test")))
    assert len(few.captions("left_out")) == 30
    assert sorted(path.name for path in tmp_path.glob("data/*")) == ["tiny"]  # nothing is written


def test_the_fewer_are_among_the_more_and_all_are_as_before(make_store):
    store = make_store(texts=40, images=5)
    views = {count: store.with_captions(count) for count in (5, 20, 40)}
    rows = {count: set(few.tables.caption_rows("train").tolist()) for count, few in views.items()}
    assert rows[5] < rows[20] < rows[40] == set(store.tables.caption_rows("train").tolist())
    assert torch.allclose(views[40].mean("text"), store.mean("text"), atol=1e-6)


def test_a_view_is_known_by_its_stores_hash_and_its_captions(make_store):
    store = make_store(texts=40, images=5)
    again = EmbeddingStore(store.path, corpus_captions=5)
    assert again.hash == store.with_captions(5).hash and again.corpus_captions == 5
    assert len({store.hash, again.hash, store.with_captions(6).hash}) == 3
    again.manifest = type(again.manifest).from_json(again.manifest.to_json() | {"hash": "other"})
    assert again.hash != store.with_captions(5).hash
    for count in (0, 41):
        with pytest.raises(ValueError, match=rf"corpus_captions={count} must be in 1\.\.40, the captions of .*'train'"):
            store.with_captions(count).texts("train")


def test_a_sum_of_splits_is_drawn_from_as_a_whole(make_store, word_encoder):
    tables = make_store(texts=40, images=5).tables
    store = write_store(tables.root, word_encoder(16), "both", "train+pretrain", None)
    few = store.with_captions(25)
    rows = few.tables.caption_rows("train+pretrain")
    assert len(rows) == 25 and np.isin(rows, store.tables.caption_rows("train+pretrain")).all()
    assert 0 < len(few.captions("train")) < 25
