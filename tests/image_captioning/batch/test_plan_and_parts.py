"""Counting files, refusing equal keys, and the work folder of a run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_space.sources.source import Row, Source
from image_captioning.batch import plan as plans
from image_captioning.batch.formats import name_in
from image_captioning.batch.parts import PART_ROWS, Parts, Shard
from image_captioning.batch.plan import make_plan


class Keys(Source):
    def __init__(self, name: str, *keys: str, size: int | None = None):
        self.name, self.keys, self.bytes = name, keys, size

    @property
    def size(self):
        return self.bytes

    def rows(self):
        for key in self.keys:
            yield Row(key, partial(Path, key))


def test_a_plan_counts_and_changes_with_keys_and_sizes():
    plan = make_plan([Keys("a", "1", "2"), Keys("b"), Keys("c", "\udcff")])
    assert plan.counts == [2, 0, 1] and plan.rows == 3
    others = [
        make_plan([Keys("a", "1", "2"), Keys("b"), Keys("c", "3")]),
        make_plan([Keys("a", "1"), Keys("b", "2"), Keys("c", "\udcff")]),
        make_plan([Keys("a", "1", "2", size=5), Keys("b"), Keys("c", "\udcff")]),
    ]
    assert len({plan.digest, *(other.digest for other in others)}) == 4


def test_equal_keys_are_named_with_their_sources():
    sources = [Keys("a.tar", "1", "2"), Keys("b.tar", "2", "3", "3")]
    with pytest.raises(ValueError, match=r"\(2 in a.tar and b.tar; 3 in b.tar\): .*prefix_keys=true"):
        make_plan(sources)


def test_equal_hashes_of_different_keys_are_no_equal_keys(monkeypatch):
    monkeypatch.setattr(plans, "_hash", lambda key: bytes(7) + bytes([len(key)]))
    assert make_plan([Keys("a", "x", "y", "zz")]).rows == 3
    with pytest.raises(ValueError, match=r"\(y in a\)"):
        make_plan([Keys("a", "x", "y", "y")])


@given(st.integers(0, 20 * PART_ROWS), st.integers(1, 9))
def test_shards_are_all_parts_one_after_the_other(rows, count):
    parts = [part for number in range(count) for part in Shard(number + 1, count).parts(rows)]
    assert parts == Shard().parts(rows)
    assert [row for part in parts for row in part] == list(range(rows))


def test_a_shard_is_a_part_of_a_number_of_parts():
    assert Shard.parse("2/8") == Shard(2, 8) and Shard.parse(None) == Shard()
    assert Shard.parse("2/8").suffix == "-2-of-8" and Shard().suffix == ""
    for text in ("0/4", "5/4", "4", "a/b", "1/", "-1/4"):
        with pytest.raises(ValueError, match=rf"shard={text} must be .*shard=1/4 \.\.\. shard=4/4"):
            Shard.parse(text)


def test_a_work_folder_goes_on_with_its_own_run_alone(tmp_path):
    parts = Parts(tmp_path / "work", Shard(), PART_ROWS + 1)
    parts.open({"beams": 3}, overwrite=False)
    first, second = parts.missing()
    parts.write(second, [{"key": "\udcff ü", "caption": 'a "dog"\n'}])
    parts.open({"beams": 3}, overwrite=False)
    assert parts.missing() == [first]
    with pytest.raises(ValueError, match=r"unfinished run of another kind \(beams was 3 there and is 5 now\)"):
        parts.open({"beams": 5}, overwrite=False)
    with pytest.raises(ValueError, match="1 results for the 1024 files"):
        parts.write(first, [{"key": "a"}])
    parts.write(first, [{"key": str(number), "problem": "no"} for number in range(PART_ROWS)])
    assert [*parts.rows()][-1] == {"key": "\udcff ü", "caption": 'a "dog"\n'}
    file = tmp_path / "work" / f"{PART_ROWS:012d}.jsonl"
    file.write_text(file.read_text()[:-5])
    with pytest.raises(ValueError, match="was damaged: run the same command again, which makes it again"):
        list(parts.rows())
    assert parts.missing() == [second]
    with pytest.raises(ValueError, match="is missing: run the same command again, which makes it"):
        list(parts.rows())
    parts.open({"beams": 5}, overwrite=True)
    assert parts.missing() == [first, second]
    assert json.loads((tmp_path / "work" / "identity.json").read_text()) == {"beams": 5}


def test_a_picture_is_below_the_folder_of_its_metadata(tmp_path):
    assert name_in(tmp_path, str(tmp_path / "..x" / "a.jpg")) == "..x/a.jpg"
    for outside in (tmp_path.parent / "a.jpg", tmp_path.parent):
        with pytest.raises(ValueError, match="is not there: give the folder of the pictures as output_dir"):
            name_in(tmp_path, str(outside))
