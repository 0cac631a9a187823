"""How varied a set of captions is, and how long they are. No references are needed, and no Java."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.captions.words import bare_words


@dataclass(frozen=True)
class Diversity:
    """Of a set of captions, over `bare_words`.

    distinct_<n>: see `distinct`. vocabulary: different words. different_captions: as a share of all.
    words: mean number per caption, and words_sd its standard deviation over the captions.
    """

    distinct_1: float
    distinct_2: float
    distinct_3: float
    distinct_4: float
    vocabulary: int
    different_captions: float
    words: float
    words_sd: float


def word_counts(captions: Sequence[str]) -> list[int]:
    """The number of words of each caption."""
    return [len(words.split()) for words in bare_words(captions).to_pylist()]


def diversity(captions: Sequence[str]) -> Diversity:
    """How varied the captions are."""
    words = [caption.split() for caption in bare_words(captions).to_pylist()]
    lengths = [len(caption) for caption in words]
    return Diversity(
        *(distinct(words, order) for order in (1, 2, 3, 4)),
        vocabulary=len({word for caption in words for word in caption}),
        different_captions=len({tuple(caption) for caption in words}) / len(words),
        words=statistics.fmean(lengths),
        words_sd=statistics.pstdev(lengths),
    )


def distinct(captions: Sequence[Sequence[str]], order: int) -> float:
    """Different n-grams as a share of all n-grams of captions in words (Li et al. 2016, arXiv:1510.03055, section 5.2,
    who divide by the number of words for every n). It falls as the set grows, so compare sets of one size. 0 when no
    caption has n words."""
    grams = [gram for caption in captions for gram in zip(*(caption[n:] for n in range(order)), strict=False)]
    return len(set(grams)) / len(grams) if grams else 0.0
