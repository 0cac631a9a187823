"""The words of captions: their nouns, as numbers of a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from alignment.step import NormalSampler
from evaluation.captions.nouns import noun_occurrences

MOST_NOUNS = 12  # of a caption; later ones are left out


def caption_words(captions: Sequence[str], names: Sequence[str]) -> Tensor:
    """(M, E) int64: the nouns of each caption that are in `names`, in the order in which they are written, repetitions
    included; -1 fills the rest.

    E is what the captions need, from 1 to `MOST_NOUNS`. Raises ImportError when textblob is missing.
    """
    if not names:
        return torch.full((len(captions), 1), -1)
    occurrences = noun_occurrences(captions)
    number = {name: place for place, name in enumerate(names)}
    known = np.array([number.get(name, -1) for name in occurrences.names], dtype=np.int64)
    words = known[occurrences.nouns] if len(known) else occurrences.nouns
    words, rows = words[words >= 0], occurrences.captions[words >= 0]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)  # within its caption
    table = np.full((len(captions), min(int(places.max(initial=0)) + 1, MOST_NOUNS)), -1, dtype=np.int64)
    fits = places < table.shape[1]
    table[rows[fits], places[fits]] = words[fits]
    return torch.from_numpy(table)


def chosen(words: Tensor, keep: Tensor, count: int) -> Tensor:
    """(N, count) the first `count` words of (N, E) where `keep` (N, E) is true; -1 fills the rest."""
    words = words.where(keep, -1).gather(1, (~keep).long().argsort(dim=1, stable=True))[:, :count]
    return torch.nn.functional.pad(words, (0, count - words.shape[1]), value=-1)


def first_occurrences(words: Tensor) -> Tensor:
    """(N, E) bool: whether it is a word, and none before it in its row is the same."""
    before = torch.ones(words.shape[1], words.shape[1], dtype=torch.bool, device=words.device).tril(-1)
    return (words >= 0) & ~((words[:, :, None] == words[:, None, :]) & before).any(-1)


def training_words(words: Tensor, count: int) -> Tensor:
    """(N, count) the first different words of each caption."""
    return chosen(words, first_occurrences(words), count)


def masked_and_shuffled(words: Tensor, mask_share: float, normal: NormalSampler) -> Tensor:
    """Words (B, E) as ViECap reads them in training: each is left out with the probability `mask_share`, and the others
    are in an order drawn at random (arXiv 2307.16525, section 3.2).

    Args:
        normal: where all randomness comes from, as for the steps of an alignment.
    """
    like = torch.zeros(words.shape, device=words.device)
    below = torch.special.ndtri(torch.tensor(mask_share, device=words.device))  # a share of normal numbers is below it
    kept = words.where(normal(like) >= below, -1)
    return kept.gather(1, normal(like).argsort(dim=1))
