"""Retrieval against a loop that tries every way of breaking ties, and chance level for embeddings that say nothing."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from evaluation.embeddings import retrieval
from evaluation.embeddings.retrieval import (
    centroid_distance,
    distribution_gap,
    image_to_text,
    pair_distance,
    paired_cosine,
    remaining_gap,
    text_to_image,
)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x / x.norm(dim=-1, keepdim=True)


def slow(similarities: list[list[float]], right: list[set[int]]) -> tuple[list[float], list[float]]:
    """Recall@1, 5, 10 and every query's expected rank, by going through all orders of the tied items."""
    recalls, ranks = [0.0, 0.0, 0.0], []
    for row, own in zip(similarities, right, strict=True):
        best = max(row[i] for i in own)
        above = sum(s > best + 1e-6 for s in row)
        tied = [i in own for i, s in enumerate(row) if abs(s - best) <= 1e-6]
        places = [above + order.index(True) + 1 for order in itertools.permutations(tied)]
        ranks.append(sum(places) / len(places))
        for n, k in enumerate((1, 5, 10)):
            recalls[n] += sum(place <= k for place in places) / len(places) / len(right)
    return recalls, ranks


@pytest.mark.parametrize("elements", [2**23, 40, 1])
def test_equals_slow_loop(monkeypatch, elements):
    monkeypatch.setattr(retrieval, "_ELEMENTS_A_CHUNK", elements)
    images, texts = unit(30, 6), unit(80, 6, seed=1)
    image_rows = torch.randint(0, 28, (80,), generator=torch.Generator().manual_seed(2))  # some images have none
    texts[10:14] = texts[9]  # captions that several images share
    images[3] = images[4]
    similarity = (images.double() @ texts.double().T).tolist()
    described = sorted(set(image_rows.tolist()))

    captions = [set(torch.where(image_rows == i)[0].tolist()) for i in described]
    recalls, ranks = slow([similarity[i] for i in described], captions)
    scores = image_to_text(images, texts, image_rows)
    assert [scores.recall_at_1, scores.recall_at_5, scores.recall_at_10] == pytest.approx(recalls)
    assert scores.median_rank == pytest.approx(torch.tensor(ranks, dtype=torch.float64).quantile(0.5).item())
    assert scores.queries == len(described)

    recalls, ranks = slow((images.double() @ texts.double().T).T.tolist(), [{i} for i in image_rows.tolist()])
    scores = text_to_image(images, texts, image_rows)
    assert [scores.recall_at_1, scores.recall_at_5, scores.recall_at_10] == pytest.approx(recalls)
    assert scores.median_rank == pytest.approx(torch.tensor(ranks, dtype=torch.float64).quantile(0.5).item())
    assert scores.queries == 80


def test_an_autocast_around_it_changes_nothing():
    """A training loop evaluates under its own, which would round near similarities to one."""
    images, texts = unit(200, 8), unit(400, 8, seed=1)
    image_rows = torch.arange(400) // 2
    with torch.autocast("cpu", torch.bfloat16):
        scores = [way(images, texts, image_rows) for way in (image_to_text, text_to_image)]
    assert scores == [way(images, texts, image_rows) for way in (image_to_text, text_to_image)]


def test_a_constant_embedding_scores_chance():
    images, texts = unit(1, 16).expand(100, -1), unit(1, 16).expand(500, -1)
    image_rows = torch.arange(500) // 5
    scores = text_to_image(images, texts, image_rows)
    assert scores.recall_at_1 == pytest.approx(0.01) and scores.recall_at_10 == pytest.approx(0.10)
    assert scores.median_rank == pytest.approx(50.5)
    scores = image_to_text(images, texts, image_rows)
    assert scores.recall_at_1 == pytest.approx(0.01)
    assert scores.recall_at_10 == pytest.approx(1 - math.comb(495, 10) / math.comb(500, 10))
    assert scores.median_rank == pytest.approx(501 / 6)


def test_perfect_embeddings():
    images = unit(40, 32)
    image_rows = torch.arange(200) % 40
    for scores in (
        image_to_text(images, images[image_rows], image_rows),
        text_to_image(images, images, torch.arange(40)),
    ):
        assert scores.recall_at_1 == scores.recall_at_10 == pytest.approx(1)
        assert scores.median_rank == 1
    assert paired_cosine(images, images[image_rows], image_rows) == pytest.approx(1)
    assert set(scores.to_dict()) == {"recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "queries"}


def test_half_precision_stores_are_accepted():
    images, texts, rows = unit(20, 64).half(), unit(60, 64, seed=1).half(), torch.arange(60) % 20
    assert image_to_text(images, texts, rows) == image_to_text(images.float(), texts.float(), rows)


def test_the_distribution_gap_is_what_centering_leaves_of_the_pairs_distance():
    generator = torch.Generator().manual_seed(0)
    texts = F.normalize(torch.randn(40, 8, generator=generator), dim=1)
    image_rows = torch.arange(40) // 2
    images = F.normalize(torch.randn(20, 8, generator=generator), dim=1)
    slow = [float((images[row] - text).norm()) for row, text in zip(image_rows.tolist(), texts, strict=True)]
    assert pair_distance(images, texts, image_rows) == pytest.approx(sum(slow) / 40, rel=1e-6)
    moved = images + torch.full((8,), 3.0)  # a shift is a centroid gap, and no distribution gap
    assert distribution_gap(moved, texts, image_rows) == pytest.approx(
        distribution_gap(images, texts, image_rows), rel=1e-5
    )
    assert distribution_gap(texts + 1, texts, torch.arange(40)) == pytest.approx(0, abs=1e-6)
    assert pair_distance(texts + 1, texts, torch.arange(40)) == pytest.approx(8**0.5, rel=1e-6)
    gap = remaining_gap(images, texts, image_rows)
    assert gap.pair_distance == pair_distance(images, texts, image_rows)
    assert gap.distribution_gap == distribution_gap(images, texts, image_rows)


def test_paired_cosine_weighs_images_equally(monkeypatch):
    images, texts = unit(3, 8), unit(6, 8, seed=1)
    image_rows = torch.tensor([0, 0, 0, 0, 2, 2])  # image 1 has no caption
    cosines = (images[image_rows] * texts).sum(1)
    expected = (cosines[:4].mean() + cosines[4:].mean()) / 2
    for elements in (2**23, 2048):  # 2048: one caption a chunk
        monkeypatch.setattr(retrieval, "_ELEMENTS_A_CHUNK", elements)
        assert paired_cosine(images, texts, image_rows) == pytest.approx(expected.item())


def test_centroid_distance():
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[0.0, -1.0]])
    assert centroid_distance(images, texts) == pytest.approx(math.hypot(0.5, 1.5))
    assert centroid_distance(images, images) == 0


@pytest.mark.parametrize(
    ("images", "texts", "rows", "message"),
    [
        (unit(3, 4), unit(5, 6), torch.zeros(5, dtype=torch.long), "must share D"),
        (unit(3, 4), unit(5, 4), torch.zeros(4, dtype=torch.long), "one row number a text"),
        (unit(3, 4), unit(5, 4), torch.zeros(5), "one row number a text"),
        (unit(3, 4), unit(5, 4), torch.tensor([0, 1, 2, 3, 0]), "names row 3, but there are 3 images"),
        (unit(3, 4), unit(5, 4), torch.tensor([0, 1, 2, -1, 0]), "names row -1"),
        (unit(3, 4), unit(5, 4) * 2, torch.zeros(5, dtype=torch.long), "texts must have unit rows.*length 2"),
        (unit(3, 4) * torch.nan, unit(5, 4), torch.zeros(5, dtype=torch.long), "images must have unit rows.*nan"),
        (unit(3, 4), unit(0, 4), torch.zeros(0, dtype=torch.long), "one row number a text"),
    ],
)
def test_what_does_not_fit_is_named(images, texts, rows, message):
    for measure in (image_to_text, text_to_image, paired_cosine):
        with pytest.raises(ValueError, match=message):
            measure(images, texts, rows)
