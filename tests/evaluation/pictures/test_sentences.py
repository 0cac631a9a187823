"""R-precision against a slow reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from evaluation.pictures.sentences import RPrecision, r_precision


def unit(rows: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_with_all_sentences_as_candidates_it_is_whether_the_own_one_is_nearest():
    pictures, sentences = unit(30, 0), unit(8, 1)
    own = torch.arange(30) % 8
    found = r_precision(pictures, sentences, own, RPrecision(candidates=8), seed=0)
    nearest = [float((picture @ sentences.T).argmax() == row) for picture, row in zip(pictures, own, strict=True)]
    assert found.tolist() == nearest and 0 < found.mean() < 1


def test_chance_is_one_in_so_many_candidates():
    pictures, sentences = unit(4000, 0), unit(300, 1)
    own = torch.arange(4000) % 300
    assert r_precision(pictures, sentences, own, RPrecision(4), seed=0).mean().item() == pytest.approx(0.25, abs=0.03)


def test_right_pictures_are_right_whatever_is_drawn_and_ties_share():
    sentences = unit(20, 0)
    own = torch.arange(20)
    assert r_precision(sentences, sentences, own, RPrecision(10), seed=3).tolist() == [1.0] * 20
    alike = sentences[:1].expand(20, -1)  # every sentence is as near as any other
    assert r_precision(sentences, alike, own, RPrecision(10), seed=3).tolist() == pytest.approx([0.1] * 20)


def test_the_seed_decides_the_draw_and_few_sentences_are_refused():
    pictures, sentences, own = unit(50, 0), unit(40, 1), torch.arange(50) % 40
    draws = [r_precision(pictures, sentences, own, RPrecision(5), seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    with pytest.raises(ValueError, match=r"there are 40 different sentences: .*r_precision\.candidates=100"):
        r_precision(pictures, sentences, own, RPrecision(), seed=0)
