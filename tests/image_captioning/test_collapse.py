"""Distinct captions of equal embeddings or equal tokens are counted and told before training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from image_captioning.collapse import warn_of_collapse
from image_captioning.data import CaptionTokens
from image_captioning.tokenizer import train_tokenizer
from image_captioning.training_run import train

WORDS = ("dog", "cat", "boat", "tree")
TOKENIZER = train_tokenizer(["a dog and a cat on a boat by a tree"])


def encode(captions: list[str], max_tokens: int = 20) -> CaptionTokens:
    return CaptionTokens.encode(captions, TOKENIZER, max_tokens, truncate=True)


def slow_count(captions: list[str], values: list) -> int:
    """Distinct captions with another of the same value."""
    pairs = {(caption, str(value)) for caption, value in zip(captions, values, strict=True)}
    return sum(any(other != pair and other[1] == pair[1] for other in pairs) for pair in pairs)


@pytest.mark.filterwarnings("ignore:.*captions were cut")
@given(st.lists(st.tuples(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), st.integers(0, 3)), min_size=1))
def test_the_counts_are_those_of_comparing_every_pair(items):
    captions = list({" ".join(words): None for words, _ in items})
    numbers = [number for _, number in items][: len(captions)]
    rows = torch.tensor(numbers, dtype=torch.float16)[:, None].expand(-1, 4).contiguous()
    tokens = encode(captions, 4)
    texts = [tokens.batch(torch.tensor([row]))[0].tolist() for row in range(len(captions))]
    assert warn_of_collapse(captions, tokens, rows) == (slow_count(captions, numbers), slow_count(captions, texts))


def test_letter_case_and_white_space_make_no_difference(caplog):
    captions = ["a dog", "A  dog ", "a dog"]
    assert warn_of_collapse(captions, encode(captions), torch.ones(3, 2)) == (0, 0)
    assert not caplog.records


@pytest.mark.filterwarnings("ignore:.*captions were cut")
def test_both_kinds_are_told_with_an_example(caplog):
    captions = ["a dog on a boat by a tree", "a dog on a boat by a cat", "a quokka", "a wombat", "a tree"]
    assert warn_of_collapse(captions, encode(captions, 5), torch.eye(5)[[0, 0, 1, 2, 3]]) == (2, 4)
    embedding, tokens = (record.getMessage() for record in caplog.records)
    assert embedding.startswith("2 of 5 distinct training captions have the same embedding as another")
    assert "'a dog on a boat by a tree' and 'a dog on a boat by a cat'" in embedding
    assert tokens.startswith("4 of 5 distinct training captions have the same tokens as another")


def test_training_tells_it_before_it_starts(compose, make_store, tmp_path, caplog):
    store = make_store()
    small = ["decoder.config.n_layer=1", "decoder.config.n_embd=16", "decoder.config.n_head=1", "loop.steps=1"]
    place = [f"store={store.path}", f"output_dir={tmp_path / 'run'}", "alignment=c3", "loop.batch_size=4"]
    options = [*small, *place, "loop.precision='no'", "validation_captions=4"]
    train(compose("image_captioning", *options, "decoder.tokenizer.size=8"))  # few words: the others are unknown
    assert "distinct training captions have the same tokens as another" in caplog.text
    caplog.clear()
    train(compose("image_captioning", *options, f"output_dir={tmp_path / 'other'}"))
    assert "the same tokens" not in caplog.text
    assert "the same embedding as another" in caplog.text  # the encoder of these tests sums words up
