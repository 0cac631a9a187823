"""Which words a prompt names, against slow counts in dictionaries, and golden cases."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from image_captioning.prefix_parts.memory import CaptionMemory
from image_captioning.prefix_parts.rules import FrequentWords, MergedWords, SimilarWords, make_rule

NOUNS, DIM = 9, 6


def random_rows(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def memory() -> CaptionMemory:
    memory = CaptionMemory(40, 4, DIM)
    memory.rows = random_rows(40, 0)
    words = torch.randint(0, NOUNS, (40, 4), generator=torch.Generator().manual_seed(1))
    memory.words = words.masked_fill(torch.arange(4) >= torch.arange(40)[:, None] % 5, -1).int()
    return memory


def memory_of(*captions: list[int]) -> CaptionMemory:
    """Captions whose rows are e, the same, so that they are found in some order; each with its words."""
    memory = CaptionMemory(len(captions), max(map(len, captions)), 2)
    memory.rows = F.normalize(torch.stack([torch.tensor([1.0, 0.01 * n]) for n in range(len(captions))]), dim=-1)
    memory.words = torch.tensor([row + [-1] * (memory.words.shape[1] - len(row)) for row in captions]).int()
    return memory


IMAGE = torch.tensor([[1.0, 0.0]])


def listed(words: torch.Tensor) -> list[list[int]]:
    return [[word for word in row if word >= 0] for row in words.tolist()]


def near(memory: CaptionMemory, image: torch.Tensor, count: int) -> list[list[int]]:
    nearest = (memory.rows @ image).argsort(descending=True)[:count]
    return listed(memory.words[nearest])


def test_similar_words_are_the_top_of_the_softmax_above_the_threshold():
    images, vocabulary = random_rows(30, 2), random_rows(NOUNS, 3)
    words = SimilarWords(top=2, threshold=0.2, temperature=0.1).words(images, vocabulary, None)
    slow = []
    for image in images:
        shares = np.exp((vocabulary @ image).numpy() / 0.1)
        shares /= shares.sum()
        slow.append([int(word) for word in np.argsort(-shares)[:2] if shares[word] > 0.2])
    assert listed(words) == slow and {len(row) for row in slow} == {1, 2}
    assert SimilarWords(top=50).words(images, vocabulary, None).shape == (30, NOUNS)
    assert listed(SimilarWords(threshold=1.0).words(images, vocabulary, None)) == [[]] * 30


@pytest.mark.parametrize("options", [{"least": 3}, {"least": None, "deviations": 0.7}])
def test_frequent_words_equal_a_slow_count(memory, options):
    images = random_rows(50, 4)
    slow = []
    for image in images:
        counts = Counter(word for caption in near(memory, image, 9) for word in caption)
        values = np.array(list(counts.values()))
        above = values.mean() + 0.7 * values.std()
        keep = [w for w, n in counts.items() if (n >= 3 if options["least"] else n > above)]
        slow.append(sorted(keep, key=lambda word: -counts[word]))
    assert listed(FrequentWords(captions=9, **options).words(images, None, memory)) == slow
    assert len({len(row) for row in slow}) > 2


def test_frequent_words_golden():
    memory = memory_of([0, 1], [1, 1, 2], [2, 3], [2], [3, 3, 3, 3])
    assert listed(FrequentWords(captions=4, least=3).words(IMAGE, None, memory)) == [[1, 2]]
    assert listed(FrequentWords(captions=5, least=3).words(IMAGE, None, memory)) == [[3, 1, 2]]
    assert listed(FrequentWords(captions=4, least=9).words(IMAGE, None, memory)) == [[]]
    # Counts 1, 3, 3, 1: mean 2, deviation 1.
    assert listed(FrequentWords(captions=4, least=None, deviations=0.9).words(IMAGE, None, memory)) == [[1, 2]]
    assert listed(FrequentWords(captions=4, least=None, deviations=1.0).words(IMAGE, None, memory)) == [[]]
    no_nouns = memory_of([-1], [-1])
    assert listed(FrequentWords(captions=2, least=None, deviations=0.0).words(IMAGE, None, no_nouns)) == [[]]


def slow_concepts(captions: list[list[int]], vocabulary: torch.Tensor, rule: MergedWords) -> list[int]:
    directions = F.normalize(vocabulary - vocabulary.mean(0), dim=-1)
    counts: dict[int, int] = {}
    places: dict[int, list[float]] = {}
    for caption in captions:
        for place, word in enumerate(caption):
            counts[word] = counts.get(word, 0) + 1
            places.setdefault(word, []).append(place / len(caption))
    concepts: dict[int, int] = {}
    for word, count in counts.items():
        joined = next((c for c in concepts if directions[c] @ directions[word] > rule.merge_above), word)
        concepts[joined] = concepts.get(joined, 0) + count
    kept = [word for word, count in concepts.items() if count >= rule.least]
    return sorted(kept, key=lambda word: float(np.mean(places[word], dtype=np.float32)))[: rule.top]


def test_concepts_equal_a_slow_count(memory):
    images, vocabulary = random_rows(50, 5), random_rows(NOUNS, 6)
    rule = MergedWords(captions=5, least=2, merge_above=0.3, top=3)
    slow = [slow_concepts(near(memory, image, 5), vocabulary, rule) for image in images]
    assert listed(rule.words(images, vocabulary, memory)) == slow
    assert len({len(row) for row in slow}) > 2


def test_concepts_golden():
    vocabulary = F.normalize(torch.tensor([[1.0, 0, 0, 3], [1, 0.1, 0, 3], [0, 1, 0, 3], [0, 0, 1, 3]]), dim=-1)
    memory = memory_of([2, 0], [2, 1], [3, 2, 0], [3], [3, 1])
    # 0 and 1 are one concept of four; 2 and 3 are named three times; 3 stands first in its captions, 2 next.
    assert listed(MergedWords().words(IMAGE, vocabulary, memory)) == [[3, 2, 0]]
    assert listed(MergedWords(top=2).words(IMAGE, vocabulary, memory)) == [[3, 2]]
    assert listed(MergedWords(least=4).words(IMAGE, vocabulary, memory)) == [[0]]
    assert listed(MergedWords(merge_above=1.0).words(IMAGE, vocabulary, memory)) == [[3, 2]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "best"}, r"Unknown rule 'best'.*parts\.source\.kind"),
        ({"kind": "similar", "top": 0}, r"parts\.source\.top=0"),
        ({"kind": "similar", "least": 2}, r"no option parts\.source\.least=2"),
        ({"kind": "frequent", "least": 5, "deviations": 1.0}, "Give exactly one of"),
        ({"kind": "frequent", "least": None}, "Give exactly one of"),
        ({"kind": "merged", "merge_above": 1.5}, r"parts\.source\.merge_above=1\.5"),
    ],
)
def test_bad_options_are_refused_by_name(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_rule(options)
