"""The mapping matrix in closed form: least squares and ridge regression between two embedding spaces."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Projection(nn.Linear):
    """cM of unit rows, (B, C) -> (B, D) in float32, M with a bias.

    Its weights map between coordinates of unit mean square, as an optimizer expects of a layer. Between the tiny
    coordinates of unit rows, M would need large weights, which take Adam tens of thousands of steps to reach.
    """

    def forward(self, condition: Tensor) -> Tensor:
        return super().forward(math.sqrt(self.in_features) * condition).float() / math.sqrt(self.out_features)

    def fit(self, conditions: Tensor, targets: Tensor, row_of: Tensor, ridge: float) -> None:
        """Solve for M: see `fit_projection`."""
        fit_projection(self, conditions, targets, row_of, ridge)
        with torch.no_grad():
            self.weight.mul_(math.sqrt(self.out_features / self.in_features))
            self.bias.mul_(math.sqrt(self.out_features))


def fit_projection(
    linear: nn.Linear, conditions: Tensor, targets: Tensor, row_of: Tensor, ridge: float = 0.0, rows_at_once: int = 8192
) -> None:
    """Set a linear map with bias to the M that minimizes ||Z - CM||² + ridge P ||M||² over P pairs (equation 13).

    The bias is not penalized. Memory is constant in P. Sums are in float64 (on the CPU for devices without it).

    Args:
        conditions: (N, C).
        targets: (M, D).
        row_of: (2, P), the pairs' rows of each.

    Raises:
        ValueError: a negative ridge, or least squares (ridge = 0) with more dimensions than the pairs span.
    """
    if not ridge >= 0:
        raise ValueError(f"model.ridge={ridge} must be 0 or more (ridges, for the row linear)")
    device = conditions.device if conditions.device.type != "mps" else torch.device("cpu")
    wide, count = conditions.shape[1] + 1, row_of.shape[1]
    gram = torch.zeros(wide, wide, dtype=torch.float64, device=device)
    cross = torch.zeros(wide, targets.shape[1], dtype=torch.float64, device=device)
    for rows in row_of.split(rows_at_once, dim=1):
        condition = conditions[rows[0]].to(device).double()
        condition = torch.cat([condition, torch.ones_like(condition[:, :1])], dim=1)
        gram += condition.T @ condition
        cross += condition.T @ targets[rows[1]].to(device).double()
    gram.diagonal()[:-1] += ridge * count
    factor, info = torch.linalg.cholesky_ex(gram)
    if info.item() or (ridge == 0 and torch.linalg.matrix_rank(gram, hermitian=True).item() < wide):
        raise ValueError(
            f"The {count:,} pairs do not span the condition's {wide - 1} dimensions, so that least squares has no "
            "unique solution: set model.ridge (or ridges, of the row linear) above 0, such as 1e-4"
        )
    solution = torch.cholesky_solve(cross, factor)
    with torch.no_grad():
        linear.weight.copy_(solution[:-1].T)
        linear.bias.copy_(solution[-1])
