"""Tables: unions and parts of splits, hashing, and writing in batches."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from embedding_space import tables as module
from embedding_space.splits import is_held_out
from embedding_space.tables import TableWriter, read_tables, write_tables

SPLITS = ("train", "val/b", "extra", "val/a", "train", "test", "val/b")


@pytest.fixture
def tables(tmp_path):
    images = ({"image_id": f"i{n}", "path": f"{n}.jpg", "split": split} for n, split in enumerate(SPLITS))
    captions = (
        {"caption_id": f"c{n}", "image_row": None if split == "extra" else n, "caption": f"text {n}", "split": split}
        for n, split in enumerate(SPLITS)
    )
    return write_tables(tmp_path / "data", images, captions)


def test_a_sum_of_splits_is_their_union_in_table_order(tables):
    assert tables.image_rows("test+train").tolist() == [0, 4, 5]
    assert tables.caption_rows("train + extra").tolist() == [0, 2, 4]
    assert tables.image_rows("train+train").tolist() == [0, 4]
    assert tables.pairs("train+test").tolist() == [0, 1, 2]
    assert list(tables.references("test+val")) == ["i1", "i3", "i5", "i6"]
    with pytest.raises(ValueError, match="no pairs"):
        tables.pairs("train+extra")


def test_a_split_holds_its_parts(tables):
    assert tables.image_rows("val").tolist() == [1, 3, 6]
    assert tables.image_rows("val/b").tolist() == [1, 6]
    assert tables.parts("val") == ["val/b", "val/a"] and tables.parts("train") == []
    assert tables.references("val/a+train") == {"i0": ["text 0"], "i3": ["text 3"], "i4": ["text 4"]}


def test_every_split_of_a_sum_must_be_there(tables):
    assert tables.has("images", "train+val") and not tables.has("images", "train+dev")
    assert not tables.has("captions", None)
    for bad, message in (("train+dev", "no captions of split 'dev'"), ("va", "of split 'va'"), ("train+", "no split")):
        with pytest.raises(ValueError, match=message):
            tables.caption_rows(bad)


def test_held_out_data_is_found_in_sums_and_parts():
    assert all(map(is_held_out, ("val", "test", "train+val", "val/in-domain", "extra+test/b")))
    assert not any(map(is_held_out, ("train", "train+extra", "restval", "validated", "pairs")))


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_the_hash_is_that_of_all_values_in_turn_however_they_are_batched(tables, monkeypatch, batch):
    digest = hashlib.sha256()
    for table in (tables.images, tables.captions):
        for column in table.column_names:
            for value in table[column].to_pylist():
                digest.update(f"{value}\x1f".encode())
    monkeypatch.setattr(module, "ROWS_AT_ONCE", batch)
    again = write_tables(tables.root, tables.images.to_pylist(), tables.captions.to_pylist())
    assert again.hash == tables.hash == read_tables(tables.root).hash == digest.hexdigest()
    assert again.captions.slice(2, 3).equals(tables.captions.slice(2, 3))


def test_an_error_leaves_the_tables_that_were_there(tables):
    def interrupted() -> None:
        with TableWriter(tables.root) as writer:
            writer.image("new", "new.jpg", "train")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    twice = [{"image_id": "i", "path": f"{split}.jpg", "split": split} for split in ("train", "val")]
    with pytest.raises(ValueError, match=r"'i' occurs more than once .*split train and val"):
        write_tables(tables.root, twice, [])
    with pytest.raises(ValueError, match="no path"):
        write_tables(tables.root, [{"image_id": "a", "path": None, "split": "train"}], [])
    assert read_tables(tables.root).hash == tables.hash
    assert sorted(path.name for path in tables.root.iterdir()) == ["captions.parquet", "images.parquet"]


@pytest.mark.slow
def test_a_million_captions_fit_in_a_gigabyte_of_growth(tmp_path):
    program = """
import resource, sys
from embedding_space.tables import read_tables, write_tables
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
row = lambda n: {"caption_id": f"c{n}", "image_row": None, "caption": f"a photo of {n} dogs " * 3, "split": "train"}
write_tables(sys.argv[1], [], map(row, range(1_000_000)))
assert len(read_tables(sys.argv[1]).hash) == 64
print(peak() - before)
"""
    ran = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert int(ran.stdout) * (1 if sys.platform == "darwin" else 1024) < 2**30
