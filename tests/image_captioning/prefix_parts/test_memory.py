"""The memory of captions: its search against a slow one, and its way into checkpoints."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from alignment import nearest_rows as room
from alignment.memory import TextMemory
from alignment.nearest_rows import nearest_rows
from image_captioning.prefix_parts.memory import CaptionMemory

NAMES = ["dog", "cat", "boat", "hill"]


def rows(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_nearest_rows_are_those_of_a_slow_search_without_the_querys_group(monkeypatch):
    monkeypatch.setattr(room, "SIMILARITIES_AT_ONCE", 90)  # 3 queries at once
    queries, memory = rows(20, 0), rows(30, 1)
    groups, row_groups = torch.arange(20) % 7, torch.arange(30) % 7
    nearest, apart = nearest_rows(queries, memory, 4), nearest_rows(queries, memory, 4, groups, row_groups)
    for number, query in enumerate(queries):
        order = sorted(range(30), key=lambda row: -float(query @ memory[row]))
        assert nearest[number].tolist() == order[:4]
        assert apart[number].tolist() == [row for row in order if row % 7 != number % 7][:4]
    assert nearest_rows(queries[:0], memory, 4).shape == (0, 4)


def test_it_has_the_training_captions_and_their_nouns(make_store):
    store = make_store()
    memory = CaptionMemory.from_store(store, NAMES)
    assert torch.allclose(memory.rows, F.normalize(store.texts("train"), dim=-1))
    for caption, words in zip(store.captions("train"), memory.words.tolist(), strict=True):
        assert [NAMES[word] for word in words if word >= 0] == [word for word in caption.split() if word in NAMES]
    loaded = CaptionMemory(**memory.options())
    loaded.load_state_dict(memory.state_dict())
    loaded.restore()
    assert torch.equal(loaded.rows, memory.rows) and torch.equal(loaded.words, memory.words)


def test_large_rows_are_read_from_their_store_which_may_not_change(make_store, monkeypatch):
    store = make_store()
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    memory = CaptionMemory.from_store(store, NAMES)
    assert set(memory.state_dict()) == {"words"} and memory.options()["store_hash"] == store.hash
    loaded = CaptionMemory(**memory.options())
    loaded.load_state_dict(memory.state_dict())
    loaded.restore()
    assert torch.equal(loaded.rows, memory.rows)
    whole = loaded.self_contained()
    assert set(whole.state_dict()) == {"rows", "words"} and "store" not in whole.options()
    part = CaptionMemory.from_store(store.with_captions(50), NAMES)
    again = CaptionMemory(**part.options())
    again.restore()
    assert torch.equal(again.rows, part.rows) and len(part.rows) == 50
    other = CaptionMemory(**{**memory.options(), "store_hash": "0" * 64})
    with pytest.raises(
        ValueError, match=r"captions came from the store .* with hash 000000000000, but the store there"
    ):
        other.restore()
