"""How varied a set of captions is, and how long they are. No references are needed, and no Java."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from evaluation.captions.words import bare_words

ORDERS = (1, 2, 3, 4)


def word_counts(captions: Sequence[str]) -> list[int]:
    """The number of words of each caption."""
    return [len(words.split()) for words in bare_words(captions).to_pylist()]


def diversity(captions: Sequence[str], orders: Sequence[int] = ORDERS) -> dict[str, float]:
    """Figures of a set of captions, over `bare_words`.

    distinct_<n>: different n-grams as a share of all n-grams of the set (Li et al. 2016, arXiv:1510.03055, section 5.2,
        who divide by the number of words for every n); it falls as the set grows, so compare sets of one size. 0 when
        no caption has n words.
    vocabulary: different words. different_captions: as a share of all.
    words: mean number a caption, and words_sd its standard deviation over the captions.
    """
    words = [caption.split() for caption in bare_words(captions).to_pylist()]
    lengths = [len(caption) for caption in words]
    return {
        **{f"distinct_{order}": _distinct(words, order) for order in orders},
        "vocabulary": len({word for caption in words for word in caption}),
        "different_captions": len({tuple(caption) for caption in words}) / len(words),
        "words": statistics.fmean(lengths),
        "words_sd": statistics.pstdev(lengths),
    }


def _distinct(words: list[list[str]], order: int) -> float:
    grams = [gram for caption in words for gram in zip(*(caption[n:] for n in range(order)), strict=False)]
    return len(set(grams)) / len(grams) if grams else 0.0
