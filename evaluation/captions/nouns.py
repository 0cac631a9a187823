"""Nouns that a caption and its references share: what a caption gets right of the things that are there.

Nouns are found by the English part-of-speech tagger and singular forms of CLiPS Pattern (De Smedt and Daelemans 2012,
JMLR 13), whose lexicon comes inside the `textblob` wheel: a table of words, quick and the same everywhere, but blind to
context ("two dogs *fight*" counts a fight, "a man *rides*" a ride). Both sides are treated alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    words = _without_possessives(pc.split_pattern(bare_words(captions), " "))
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(words).to_pylist():
        if entry["values"] and (noun := _noun(entry["values"])):
            counts[noun] += entry["counts"]
    return counts


@dataclass(frozen=True)
class NounOccurrences:
    """The O nouns of captions, in the order in which they are written.

    Attributes:
        names: the different nouns, as singular forms.
        nouns: (O,) int64, which of `names` each is.
        captions: (O,) int64, increasing: the caption that has it.
    """

    names: list[str]
    nouns: np.ndarray
    captions: np.ndarray


def noun_occurrences(captions: Sequence[str]) -> NounOccurrences:
    """Where the nouns are in captions as they are written; possessives count. Each word is looked up but once.

    Raises ImportError when textblob is missing.
    """
    listed = pc.split_pattern(bare_words(captions), " ")
    words, parents = _without_possessives(listed).dictionary_encode(), pc.list_parent_indices(listed).to_numpy()
    singular = [_noun(word) if word else None for word in words.dictionary.to_pylist()]
    number = {name: place for place, name in enumerate(dict.fromkeys(filter(None, singular)))}
    noun_of_word = np.array([-1 if noun is None else number[noun] for noun in singular], dtype=np.int64)
    nouns = noun_of_word[words.indices.to_numpy()] if len(words) else np.empty(0, dtype=np.int64)
    return NounOccurrences(list(number), nouns[nouns >= 0], parents[nouns >= 0])


def _without_possessives(listed: pa.ListArray | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The words of all captions one after the other, "man" for "man's"; "" for a caption without words."""
    return pc.replace_substring_regex(pc.list_flatten(listed), "['’]s$", "")


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
