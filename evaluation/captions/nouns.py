"""Nouns that a caption and its references share: what a caption gets right of the things that are there.

Nouns are found by the English part-of-speech tagger and singular forms of CLiPS Pattern (De Smedt and Daelemans 2012,
JMLR 13), whose lexicon comes inside the `textblob` wheel: a table of words, quick and the same everywhere, but blind to
context ("two dogs *fight*" counts a fight, "a man *rides*" a ride). Both sides are treated alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from common.arrow import compute as pc
from common.extras import how_to_install
from evaluation.captions.words import bare_words


def noun_scores(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (N,), 0 to 1, in the order of `hypotheses`, of PTB-tokenized captions.

    precision: the share of a caption's different nouns that any of its references has; 0 for a caption without nouns.
    recall: the share of its references' different nouns, all references together, that the caption has; 0 where the
        references have none.

    Raises ImportError when textblob is missing.
    """
    named = [nouns([caption]) for caption in hypotheses.values()]
    there = [nouns(references[image_id]) for image_id in hypotheses]
    right = np.array([len(ours & theirs) for ours, theirs in zip(named, there, strict=True)], dtype=np.float64)
    precision, recall = (right / np.maximum([len(some) for some in side], 1) for side in (named, there))
    return precision, recall


def nouns(captions: Iterable[str]) -> set[str]:
    """The different nouns, as singular forms, of captions whose tokens are between single spaces."""
    return {noun for caption in captions for noun in map(_noun, caption.split(" ")) if noun}


def count_nouns(captions: Sequence[str] | pa.ChunkedArray) -> Counter[str]:
    """How often each noun, as its singular form, occurs in captions as they are written; possessives count.

    Raises ImportError when textblob is missing.
    """
    words = pc.list_flatten(pc.split_pattern(bare_words(captions), " "))
    words = pc.replace_substring_regex(words, "['’]s$", "")
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(words).to_pylist():
        if entry["values"] and (noun := _noun(entry["values"])):
            counts[noun] += entry["counts"]
    return counts


@cache
def _noun(word: str) -> str | None:
    """A word's singular if it is a noun: the tagger sees no context, so each word needs to be looked up but once."""
    try:
        from textblob import Word
        from textblob.taggers import PatternTagger
    except ImportError as error:
        raise ImportError(how_to_install("textblob")) from error
    [(_, tag)] = PatternTagger().tag(word, tokenize=False)
    if not tag.startswith("NN"):
        return None
    return str(Word(word).singularize()) if tag in ("NNS", "NNPS") else word
