"""Nouns: what counts as one, and precision and recall against a slow count."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest

from evaluation.captions import nouns as room
from evaluation.captions.metrics import _nouns, _warnings
from evaluation.captions.nouns import count_nouns, noun_occurrences, noun_scores, nouns

REFERENCES = {
    "1": ["two dogs run on a beach", "a dog and its ball at the sea", "brown dogs playing"],
    "2": ["a man with a bicycle", "the man is on a bike"],
    "3": ["running quickly", "very red"],
    "4": ["a cat"],
}
CAPTIONS = {"2": "men on a bike near a tree", "1": "a dog with a ball", "3": "a house", "4": ""}


def test_nouns_are_singular_and_verbs_and_colours_are_none():
    assert nouns(["two brown dogs are running on the beach"]) == {"dog", "beach"}
    assert nouns(["men , women and children", "a man"]) == {"man", "woman", "child"}
    assert nouns(["the red car is very quickly driving", ""]) == {"car"}
    assert nouns([]) == nouns([""]) == set()


def test_nouns_of_captions_as_written_are_counted_as_a_slow_count_does():
    captions = ["Two Dogs, a dog's ball & a Cat.", "The dog sees dogs; it’s a man’s dog!", "", "Quickly running..."]
    assert count_nouns(captions) == {"dog": 5, "ball": 1, "cat": 1, "man": 1}
    plain = ["two dogs run on a beach", "men and a man", "dogs"] * 3
    slow = Counter(noun for caption in plain for word in caption.split() for noun in nouns([word]))
    assert count_nouns(plain) == slow and slow["man"] == 6
    assert count_nouns([]) == count_nouns(["", "..."]) == {}


def test_occurrences_are_in_the_order_of_the_words_and_agree_with_the_counts():
    captions = ["Two Dogs, a dog's ball & a Cat.", "", "Quickly running...", "The cat sees dogs; it’s a man’s dog!"]
    occurrences = noun_occurrences(captions)
    written = [
        (caption, occurrences.names[noun])
        for caption, noun in zip(occurrences.captions, occurrences.nouns, strict=True)
    ]
    assert written == [(0, "dog"), (0, "dog"), (0, "ball"), (0, "cat"), (3, "cat"), (3, "dog"), (3, "man"), (3, "dog")]
    assert Counter(name for _, name in written) == count_nouns(captions)
    for nothing in ([], ["", "..."]):
        assert noun_occurrences(nothing).names == [] and len(noun_occurrences(nothing).nouns) == 0


def test_precision_and_recall_equal_a_slow_count():
    precision, recall = noun_scores(REFERENCES, CAPTIONS)
    slow = []
    for image_id, caption in CAPTIONS.items():
        there = set().union(*(nouns([reference]) for reference in REFERENCES[image_id]))
        named = nouns([caption])
        right = sum(noun in there for noun in named)
        slow.append((right / len(named) if named else 0, right / len(there) if there else 0))
    np.testing.assert_array_equal(np.stack([precision, recall], axis=1), slow)
    assert precision.tolist() == [2 / 3, 1, 0, 0]  # man, bike; dog, ball; a house among no nouns; nothing said
    assert recall.tolist() == [2 / 3, 2 / 4, 0, 0]  # of man, bicycle, bike; of dog, beach, ball, sea


def test_the_set_scores_are_means_over_images():
    values = _nouns(REFERENCES, CAPTIONS)
    assert list(values) == ["noun precision", "noun recall"]
    assert values["noun precision"][0] == pytest.approx((2 / 3 + 1) / 4)


def test_without_textblob_the_metric_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "textblob", None)
    room._noun.cache_clear()
    with pytest.raises(ImportError, match=r"textblob is not installed: pip install -e \"\.\[metrics\]\""):
        noun_scores(REFERENCES, CAPTIONS)


@pytest.mark.parametrize(
    ("captions", "message"),
    [(["a dog"] * 10 + ["a cat"] * 20, "20 of 30 captions are the same: 'a cat'"), (["a dog"] * 30, "all 30 captions")],
)
def test_a_decoder_that_repeats_itself_is_told(captions, message):
    [warning] = _warnings(dict(enumerate(captions)), {})
    assert message in warning
    assert not _warnings({n: f"{n % 5} dogs" for n in range(30)}, {})
