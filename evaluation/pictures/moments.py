"""Mean and covariance of features that come batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Mean and covariance of all rows added so far, in memory that does not grow with their number.

    Batches are merged as in Chan, Golub and LeVeque 1979 (Updating formulae, equation 2.1), which loses no digits where
    the mean is large.

    Args:
        dim: D.
    """

    def __init__(self, dim: int):
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._squares = torch.zeros(dim, dim, dtype=torch.float64)  # the sum of outer products around the mean

    def add(self, rows: Tensor) -> None:
        """Add rows (B, D)."""
        if not len(rows):
            return
        rows = rows.double()
        mean, total = rows.mean(0), self.count + len(rows)
        centered, apart = rows - mean, mean - self.mean
        self._squares += centered.T @ centered + torch.outer(apart, apart) * (self.count * len(rows) / total)
        self.mean = self.mean + apart * (len(rows) / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """(D, D) float64, unbiased. Raises ValueError for fewer than two rows."""
        if self.count < 2:
            raise ValueError(f"A covariance needs two pictures or more, not {self.count}")
        return self._squares / (self.count - 1)
