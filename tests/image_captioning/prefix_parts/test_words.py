"""The nouns of captions as numbers, and how they are masked and shuffled in training."""

from __future__ import annotations

import pytest
import torch

from common.randomness import seeded_normal
from image_captioning.prefix_parts.words import (
    MOST_NOUNS,
    caption_words,
    first_occurrences,
    masked_and_shuffled,
    training_words,
)

NAMES = ["ball", "dog", "cat", "beach"]


def test_words_are_those_of_the_vocabulary_in_their_order():
    captions = ["Two dogs and a cat, a dog's ball", "red", "a zebra on the beach", "a beach, a beach, the beach"]
    words = caption_words(captions, NAMES)
    assert words.tolist() == [[1, 2, 1, 0], [-1] * 4, [3, -1, -1, -1], [3, 3, 3, -1]]
    assert training_words(words, 2).tolist() == [[1, 2], [-1, -1], [3, -1], [3, -1]]
    assert training_words(words, 6).tolist()[0] == [1, 2, 0, -1, -1, -1]
    assert caption_words([], NAMES).shape == (0, 1) and caption_words(["red"], NAMES).tolist() == [[-1]]
    long = caption_words(["dog " * 30], NAMES)
    assert long.tolist() == [[1] * MOST_NOUNS]


def test_first_occurrences_are_those_of_a_slow_search():
    words = torch.randint(-1, 4, (50, 7), generator=torch.Generator().manual_seed(0))
    slow = [[word >= 0 and word not in row[:place] for place, word in enumerate(row)] for row in words.tolist()]
    assert first_occurrences(words).tolist() == slow


def test_masking_leaves_out_its_share_and_shuffling_has_every_order():
    words = torch.tensor([[0, 1, 2]]).expand(20_000, 3)
    masked = masked_and_shuffled(words, 0.4, seeded_normal("cpu", 1))
    kept = torch.stack([(masked == word).any(1) for word in range(3)]).double()
    assert kept.mean(1).tolist() == pytest.approx([0.6] * 3, abs=0.015)
    assert torch.corrcoef(kept).fill_diagonal_(0).abs().max() < 0.03  # each by itself
    orders = masked_and_shuffled(words, 0.0, seeded_normal("cpu", 2)).unique(dim=0, return_counts=True)
    assert len(orders[0]) == 6 and (orders[1] / 20_000).tolist() == pytest.approx([1 / 6] * 6, abs=0.015)
    assert (masked_and_shuffled(words, 1.0, seeded_normal("cpu", 3)) == -1).all()


def test_the_same_generator_gives_the_same_words():
    words = torch.randint(-1, 9, (64, 5), generator=torch.Generator().manual_seed(0))
    first, again, other = (masked_and_shuffled(words, 0.4, seeded_normal("cpu", seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
