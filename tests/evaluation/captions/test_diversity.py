"""Diversity against a slow count of n-grams, and captions against the text that their decoder read."""

from __future__ import annotations

import itertools
import statistics

import pytest

from evaluation.captions import training_text
from evaluation.captions.diversity import distinct, diversity, word_counts
from evaluation.captions.training_text import compare_with_training_text
from evaluation.captions.words import bare_words

CAPTIONS = ["A dog runs.", "a dog runs", "Two dogs run on the beach", "", "a", "the dog's T-shirt, and the dog's hat!"]


def test_words_are_bare():
    strange = [
        "It's a T-shirt -- 'quoted' (x) …",
        "- ' -",
        "",
        "Café's e\u0301te\u0301 日本 3",
        "\n\tone  two\u00a0three",
    ]
    expected = ["it's a t-shirt quoted x", "", "", "café's e\u0301te\u0301 日本 3", "one two three"]
    assert bare_words(strange).to_pylist() == expected


def test_diversity_equals_a_slow_count():
    words = [caption.lower().translate(str.maketrans("", "", ".,!")).split() for caption in CAPTIONS]
    measured = diversity(CAPTIONS)
    for order in (1, 2, 3, 7, 9):
        grams = []
        for caption, start in itertools.product(words, range(20)):
            gram = tuple(caption[start : start + order])
            grams += [gram] if len(gram) == order else []
        assert distinct(words, order) == (len(set(grams)) / len(grams) if grams else 0), order
    assert [getattr(measured, f"distinct_{order}") for order in (1, 4)] == [distinct(words, 1), distinct(words, 4)]
    assert distinct(words, 9) == 0  # no caption is that long
    assert measured.vocabulary == len(set(itertools.chain(*words))) == 13
    assert measured.different_captions == 5 / 6
    assert word_counts(CAPTIONS) == [3, 3, 6, 0, 1, 7]
    assert measured.words == 20 / 6 and measured.words_sd == statistics.pstdev([3, 3, 6, 0, 1, 7])


def test_a_set_that_says_one_thing_is_less_diverse_than_one_that_says_many():
    same, varied = diversity(["a dog on a beach"] * 50), diversity([f"w{n} x{n} y{n} z{n} a{n}" for n in range(50)])
    assert same.distinct_2 == 4 / 200 and varied.distinct_2 == 1
    assert same.different_captions == 0.02 and varied.different_captions == 1


@pytest.mark.parametrize("at_once", [65_536, 7])
def test_copies_of_the_training_text_are_counted(make_store, monkeypatch, at_once):
    monkeypatch.setattr(training_text, "_CAPTIONS_AT_ONCE", at_once)
    store = make_store()
    ids, references = store.image_ids("test"), store.tables.references("test")
    read = store.captions("train")
    captions = {image_id: f"nothing like number {n}" for n, image_id in enumerate(ids)}
    for image_id, caption in zip(ids, [read[0].upper() + " .", read[-1], ""], strict=False):
        captions[image_id] = caption
    text, warnings = compare_with_training_text(captions, references, store, "train")
    assert text.copied_captions == 2 / 40 and text.novel_captions == 38 / 40
    sentences = [caption for some in references.values() for caption in some]
    assert (
        text.references_in_it == pytest.approx(sum(c in set(read) for c in sentences) / len(sentences)) and not warnings
    )
    assert text.captions == 200 and text.dataset == "tiny" and text.split == "train"

    text, warnings = compare_with_training_text(dict(zip(ids, read, strict=False)), references, store, "train")
    assert text.copied_captions == 1 and text.shared_image_ids == 0
    assert warnings == [
        "100% of the captions are word for word in the training text (tiny, split train), as are "
        f"{text.references_in_it:.0%} of the references"
    ]


def test_testing_on_images_whose_captions_were_read_is_told(make_store):
    store = make_store()
    captions = dict.fromkeys([*store.image_ids("test"), *store.image_ids("val")], "words that nobody wrote")
    references = {**store.tables.references("test"), **store.tables.references("val")}
    text, warnings = compare_with_training_text(captions, references, store, "train+val")
    assert text.shared_image_ids == 40 and len(warnings) == 1
    assert (
        "40 of the 80 images captioned have the ids of images of the training text (tiny, split train+val)"
        in (warnings[0])
    )
    with pytest.raises(ValueError, match="no captions of split 'dev'"):
        compare_with_training_text(captions, references, store, "dev")
