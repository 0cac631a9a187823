"""Rectified flow: straight ways from pictures to noise, and how to walk them back.

Liu et al. 2022 (arXiv 2209.03003), Lipman et al. 2022 (arXiv 2210.02747). Time 0 is the picture and time 1 the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from common.checks import Count, NotNegative, Positive, checked_dataclass

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Maps states (B, ...) and times (B,) to velocities (B, ...)."""


@checked_dataclass("sampling.")
class Sampling:
    """How pictures are drawn.

    Attributes:
        steps: of the solver.
        guidance: scale of classifier-free guidance (arXiv 2207.12598): 1 for none; 0 ignores the sentence.
        solver: euler, or heun, which is of second order and evaluates the network twice in every step but the last.
        time_shift: above 1, more of the steps are near the noise (arXiv 2403.03206, equation 23): for large pictures.
        batch_size: pictures at once.
    """

    steps: Count = 20
    guidance: NotNegative = 1.5
    solver: Literal["euler", "heun"] = "heun"
    time_shift: Positive = 1.0
    batch_size: Count = 64


@checked_dataclass("time_")
class LogitNormal:
    """Times of training steps: the sigmoids of normal numbers (arXiv 2403.03206, section 3.1).

    Attributes:
        mean, std: of the normal numbers. A mean above 0 has more of the steps near the noise.
    """

    mean: float = 0.0
    std: Positive = 1.0

    def draw(self, normal: Tensor) -> Tensor:
        """Times (B,) from standard normal numbers (B,)."""
        return (self.mean + self.std * normal).sigmoid()


def at_time(clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """States (B, ...) at `times` (B,) of the straight ways from `clean` to `noise`; their velocity is noise - clean."""
    times = times.view(-1, *[1] * (clean.ndim - 1)).to(clean)
    return (1 - times) * clean + times * noise


def solver_times(steps: int, time_shift: float = 1.0) -> list[float]:
    """Decreasing times from 1 to 0, steps + 1 of them."""
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return (time_shift * even / (1 + (time_shift - 1) * even)).tolist()


def integrate(velocity: Velocity, noise: Tensor, sampling: Sampling) -> Tensor:
    """Walk from `noise` (B, ...) at time 1 back to time 0."""

    def slope(state: Tensor, time: float) -> Tensor:
        return velocity(state, torch.full((len(state),), time, device=state.device))

    state = noise
    for time, earlier in pairwise(solver_times(sampling.steps, sampling.time_shift)):
        direction = slope(state, time)
        moved = state + (earlier - time) * direction
        if sampling.solver == "heun" and earlier > 0:
            moved = state + (earlier - time) * (direction + slope(moved, earlier)) / 2
        state = moved
    return state


def guided(with_rows: Tensor, without_rows: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance: from the unconditional velocity past the conditional one."""
    return without_rows + guidance * (with_rows - without_rows)
