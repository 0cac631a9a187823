"""Nouns that a caption and its references share: what a caption gets right of the things that are there.

Nouns are found by the English part-of-speech tagger and singular forms of CLiPS Pattern (De Smedt and Daelemans 2012,
JMLR 13), whose lexicon comes inside the `textblob` wheel: a table of words, quick and the same everywhere, but blind to
context ("two dogs *fight*" counts a fight, "a man *rides*" a ride). Both sides are treated alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np


def noun_scores(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (N,), 0 to 1, in the order of `hypotheses`, of PTB-tokenised captions.

    precision: the share of a caption's different nouns that any of its references has; 0 for a caption without nouns.
    recall: the share of its references' different nouns, all references together, that the caption has; 0 where the
        references have none.

    Raises ImportError when textblob is missing.
    """
    named = [nouns([caption]) for caption in hypotheses.values()]
    there = [nouns(references[image_id]) for image_id in hypotheses]
    right = np.array([len(ours & theirs) for ours, theirs in zip(named, there, strict=True)], dtype=np.float64)
    return tuple(right / np.maximum([len(found) for found in side], 1) for side in (named, there))


def nouns(captions: Iterable[str]) -> set[str]:
    """The different nouns, as singular forms, of captions whose tokens stand between single spaces."""
    tagger = _tagger()
    return {
        _singular(word) if tag in ("NNS", "NNPS") else word
        for caption in captions
        if caption
        for word, tag in tagger.find_tags(caption.split(" "))
        if tag.startswith("NN")
    }


@cache
def _tagger():
    try:
        from textblob.en import parser
    except ImportError as error:
        raise ImportError("nouns are found with textblob: run `pip install textblob`") from error
    return parser


@cache
def _singular(word: str) -> str:
    from textblob.en.inflect import singularize

    return singularize(word)
