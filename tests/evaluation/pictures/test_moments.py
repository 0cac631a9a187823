"""Moments of batches are those of all rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluation.pictures.moments import Moments


@pytest.mark.parametrize("batches", [[10], [1, 2, 7], [0, 3, 7]])
def test_they_are_those_of_all_rows_however_far_from_zero(batches):
    rows = torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e6
    moments = Moments(4)
    for part in rows.split(batches):
        moments.add(part)
    assert moments.count == 10
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.numpy(), rowvar=False), atol=1e-8)
