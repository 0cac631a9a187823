"""Rows of several sources together, against slices of a list."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_space.sources.source import Row, Source, read_ranges


class Numbers(Source):
    def __init__(self, name: str, count: int):
        self.name, self.count, self.opened = name, count, 0

    def rows(self):
        self.opened += 1
        for number in range(self.count):
            yield Row(f"{self.name}{number}", partial(self._read, number))

    def _read(self, number: int) -> Path:
        if number == 2:
            raise ValueError("two")
        return Path(f"{self.name}{number}")


@given(st.lists(st.integers(0, 7), max_size=6), st.integers(1, 5), st.sets(st.integers(0, 40)))
def test_ranges_of_all_sources_are_read_in_order(counts, size, chosen):
    sources = [Numbers(f"s{place}_", count) for place, count in enumerate(counts)]
    keys = [row.key for source in sources for row in source.rows()]
    ranges = [
        range(start, min(start + size, len(keys))) for start in range(0, len(keys), size) if start // size in chosen
    ]
    read = list(read_ranges(sources, counts, ranges))
    assert [key for key, _ in read] == [keys[row] for part in ranges for row in part]
    assert all(str(file) == ("two" if key.endswith("_2") else key) for key, file in read)
    assert all(source.opened <= 2 for source in sources)  # once here


def test_a_source_that_has_become_shorter_stops_the_run():
    with pytest.raises(ValueError, match="a has fewer files than when they were counted: start again with overwrite"):
        list(read_ranges([Numbers("a", 3)], [4], [range(2, 4)]))
