"""Mean distances against all pairs, one by one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from evaluation.pictures.diversity import mean_distance, mean_distance_within


def slow(rows: torch.Tensor) -> float:
    return float(np.mean([1 - float(a @ b) for a, b in combinations(rows, 2)]))


def test_they_are_the_means_over_pairs():
    rows = F.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    groups = torch.tensor([0, 1, 1, 0, 2, 1, 3, 3, 1])
    assert mean_distance(rows) == pytest.approx(slow(rows), abs=1e-6)
    within = np.mean([slow(rows[groups == group]) for group in (0, 1, 3)])  # 2 has one row
    assert mean_distance_within(rows, groups) == pytest.approx(within, abs=1e-6)


def test_equal_pictures_have_none_and_single_ones_are_refused():
    rows = F.normalize(torch.ones(3, 4), dim=-1)
    assert mean_distance(rows) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="one picture has no other"):
        mean_distance(rows[:1])
    with pytest.raises(ValueError, match="every sentence has one picture: generate several"):
        mean_distance_within(rows, torch.arange(3))
