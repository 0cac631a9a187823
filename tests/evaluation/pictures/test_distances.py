"""Fréchet and kernel distances against slow references and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from evaluation.pictures.distances import KernelSubsets, frechet_distance, kernel_distance
from evaluation.pictures.moments import Moments

pytest.importorskip("torch_fidelity")


def features(rows: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 5, generator=generator) @ torch.randn(5, 5, generator=generator) + shift


def moments(rows: torch.Tensor) -> Moments:
    collected = Moments(rows.shape[1])
    collected.add(rows)
    return collected


def test_the_frechet_distance_is_the_formulas():
    ours, theirs = features(200, 0), features(300, 1, shift=2.0)
    a, b = ours.double().numpy(), theirs.double().numpy()
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    between = np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * between
    assert frechet_distance(moments(ours), moments(theirs)) == pytest.approx(expected, rel=1e-9)


def test_equal_sets_are_not_apart_and_shifted_ones_by_the_shifts_square():
    rows = features(50, 0)
    assert frechet_distance(moments(rows), moments(rows.flip(0))) == pytest.approx(0, abs=1e-6)
    shifted = frechet_distance(moments(rows), moments(rows + torch.tensor([3.0, 0, 4.0, 0, 0])))
    assert shifted == pytest.approx(25, rel=1e-5)


def test_the_kernel_distance_is_the_unbiased_estimate():
    ours, theirs = features(7, 0).double(), features(7, 1).double()

    def kernel(x, y):
        return float((x @ y / 5 + 1) ** 3)

    def mean(xs, ys, skip):
        return np.mean([kernel(x, y) for i, x in enumerate(xs) for j, y in enumerate(ys) if not (skip and i == j)])

    expected = mean(ours, ours, True) + mean(theirs, theirs, True) - 2 * mean(ours, theirs, False)
    found = kernel_distance(ours.float(), theirs.float(), KernelSubsets(subsets=2))
    assert found.mean == pytest.approx(expected, rel=1e-5) and found.subset_size == 7
    assert found.std == pytest.approx(0, abs=1e-9)  # each draw is all there is


def test_draws_depend_on_the_seed_alone():
    ours, theirs, options = features(40, 0), features(40, 1), KernelSubsets(subsets=3, subset_size=10)
    first = kernel_distance(ours, theirs, options, seed=1)
    assert first == kernel_distance(ours, theirs, options, seed=1) != kernel_distance(ours, theirs, options, seed=2)
    assert first.std > 0 and first.subset_size == 10


def test_single_pictures_are_refused():
    with pytest.raises(ValueError, match="Two pictures a side are the least, not 1 generated, 3 real"):
        kernel_distance(features(1, 0), features(3, 1), KernelSubsets())
    with pytest.raises(ValueError, match="needs two pictures or more, not 1"):
        frechet_distance(moments(features(1, 0)), moments(features(3, 1)))
    with pytest.raises(ValueError, match=r"kernel\.subset_size=1 must be greater than or equal to 2"):
        KernelSubsets(subset_size=1)
