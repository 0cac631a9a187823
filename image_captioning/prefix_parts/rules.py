"""Which words an image's prompt names: those like the image, or those of the captions near it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from common.checks import Count, NotNegative, Positive, Share, checked_options
from common.registry import look_up
from image_captioning.prefix_parts.memory import CaptionMemory
from image_captioning.prefix_parts.words import chosen, first_occurrences


class Rule:
    """Base of all rules: images' raw unit rows (N, D) -> words (N, E) int64, -1 for none.

    Attributes:
        reads_vocabulary: whether it needs embeddings of the vocabulary.
        captions: how many captions near an image it reads; 0: none.
    """

    reads_vocabulary = False
    captions = 0

    def words(self, images: Tensor, vocabulary: Tensor | None, memory: CaptionMemory | None) -> Tensor:
        """The words of images (N, D).

        Args:
            vocabulary: (C, D) unit rows, if it reads them.
            memory: if it reads captions.
        """
        raise NotImplementedError


class SimilarWords(Rule):
    """Words whose share of softmax(similarity / temperature) over the vocabulary is above `threshold`, at most `top`
    (ViECap, arXiv 2307.16525, section 3.3)."""

    reads_vocabulary = True

    @checked_options("parts.source.")
    def __init__(self, top: Count = 3, threshold: Share = 0.2, temperature: Positive = 0.01):
        self.top, self.threshold, self.temperature = top, threshold, temperature

    def words(self, images: Tensor, vocabulary: Tensor | None, memory: CaptionMemory | None) -> Tensor:
        assert vocabulary is not None
        shares = (images @ vocabulary.float().T / self.temperature).softmax(dim=-1)  # (N, C)
        shares, words = shares.topk(min(self.top, len(vocabulary)), dim=-1)
        return words.where(shares > self.threshold, -1)


class FrequentWords(Rule):
    """Nouns that occur often in the nearest captions, the most frequent first (IFCap's entity filtering, arXiv
    2409.18046, section 3.3).

    Args:
        captions: how many are read.
        least: a noun occurs so often, or more; or
        deviations: more often than mean + deviations * standard deviation of the counts of the image's nouns.
    """

    @checked_options("parts.source.")
    def __init__(self, captions: Count = 9, least: Count | None = 5, deviations: NotNegative | None = None):
        if (least is None) == (deviations is None):
            raise ValueError(
                f"Give exactly one of parts.source.least={least} and parts.source.deviations={deviations}: set the "
                "other to null"
            )
        self.captions, self.least, self.deviations = captions, least, deviations

    def words(self, images: Tensor, vocabulary: Tensor | None, memory: CaptionMemory | None) -> Tensor:
        assert memory is not None
        words, _ = near_words(images, memory, self.captions)
        counts, first = word_counts(words)
        if self.least is not None:
            keep = first & (counts >= self.least)
        else:
            different = first.sum(1, keepdim=True).clamp(min=1)
            mean = (counts * first).sum(1, keepdim=True) / different
            deviation = (((counts - mean) ** 2 * first).sum(1, keepdim=True) / different).sqrt()
            keep = first & (counts > mean + (self.deviations or 0) * deviation)
        order = counts.where(keep, 0).argsort(dim=1, descending=True, stable=True)
        return words.where(keep, -1).gather(1, order)


class MergedWords(Rule):
    """The concepts of the nearest captions (MeaCap, arXiv 2403.03715, section 3.1): nouns of like meaning are counted
    as the first of them, and those counted `least` times or more are named in the order of their places in captions.

    The authors find nouns by a scene-graph parser (flan-t5) and compare them by MiniLM; here they are found by the
    project's `noun_occurrences` and compared by the encoder's embeddings less the vocabulary's mean, since the encoder
    finds all words alike. Attributes are not named.

    Args:
        captions: how many are read.
        merge_above: the cosine above which two nouns are one concept.
        top: concepts at most.
    """

    reads_vocabulary = True

    @checked_options("parts.source.")
    def __init__(self, captions: Count = 5, least: Count = 3, merge_above: Share = 0.55, top: Count = 4):
        self.captions, self.least, self.merge_above, self.top = captions, least, merge_above, top

    def words(self, images: Tensor, vocabulary: Tensor | None, memory: CaptionMemory | None) -> Tensor:
        assert memory is not None and vocabulary is not None
        words, places = near_words(images, memory, self.captions)
        counts, first = word_counts(words)
        directions = F.normalize(vocabulary.float() - vocabulary.float().mean(0), dim=-1)[words.clamp(min=0)]
        alike = directions @ directions.transpose(1, 2) > self.merge_above  # (N, J, J)
        concept = merge(first, alike)  # (N, J)
        totals = torch.zeros_like(counts).scatter_add(1, concept, counts * first)
        keep = first & (concept == torch.arange(words.shape[1], device=words.device)) & (totals >= self.least)
        order = mean_places(words, places).where(keep, torch.inf).argsort(dim=1, stable=True)
        return chosen(words.gather(1, order), keep.gather(1, order), self.top)


RULES = {"similar": SimilarWords, "frequent": FrequentWords, "merged": MergedWords}


def make_rule(options: Mapping) -> Rule:
    """The rule that `options["kind"]` names; the other options are its arguments.

    Raises:
        ValueError: an unknown kind or option.
    """
    options = dict(options)
    return look_up(options.pop("kind", None), RULES, "rule", "parts.source.kind")(**options)


def near_words(images: Tensor, memory: CaptionMemory, captions: int) -> tuple[Tensor, Tensor]:
    """The words (N, J) of the captions nearest to images (N, D), caption after caption, and each word's place among its
    caption's (N, J), from 0 for the first to below 1."""
    words = memory.words[memory.nearest(images, captions)].long()  # (N, captions, E)
    places = torch.arange(words.shape[2], device=words.device) / (words >= 0).sum(-1, keepdim=True).clamp(min=1)
    return words.flatten(1), places.flatten(1)


def word_counts(words: Tensor) -> tuple[Tensor, Tensor]:
    """How often each of the words (N, J) occurs in its row, and whether it is its first occurrence there."""
    return (words[:, :, None] == words[:, None, :]).sum(-1) * (words >= 0), first_occurrences(words)


def mean_places(words: Tensor, places: Tensor) -> Tensor:
    """(N, J) the mean of `places` over all occurrences of the same word in its row."""
    same = (words[:, :, None] == words[:, None, :]).float()
    return (same @ places[..., None]).squeeze(-1) / same.sum(-1)


def merge(first: Tensor, alike: Tensor) -> Tensor:
    """(N, J) the place of the concept that each place belongs to.

    In the order of the places, a word that is like an earlier concept joins the first such one; another is a concept of
    its own.

    Args:
        first: (N, J) bool, the places that hold different words; others belong to themselves.
        alike: (N, J, J) bool.
    """
    concept = torch.arange(first.shape[1], device=first.device).expand_as(first).clone()
    leads = torch.zeros_like(first)
    for place in range(first.shape[1]):
        candidates = alike[:, place] & leads  # (N, J)
        joins = first[:, place] & candidates.any(1)
        concept[:, place] = concept[:, place].where(~joins, candidates.long().argmax(1))
        leads[:, place] = first[:, place] & ~joins
    return concept
