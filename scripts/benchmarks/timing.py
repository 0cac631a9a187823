"""Timing: both sides in turn, after a warm-up, by medians. The last row is the reference of all ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from training.batches import StepRandom
from training.kept_weights import Better
from training.loop import Evaluation, Task


def now() -> float:
    """Seconds, after the accelerator has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def median_seconds(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median of `repeats` runs of each call, after a warm-up; in turn, so that other load affects all equally."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = now()
            call()
            seconds[name].append(now() - start)
    return {name: statistics.median(runs[1:]) for name, runs in seconds.items()}


class StepClock:
    """Ticks at the start of each training step; a step lasts until the next tick."""

    def __init__(self) -> None:
        self._ticks: list[float] = []

    def tick(self) -> None:
        self._ticks.append(now())

    def rate(self, items: Sequence[int], warmup: int) -> float:
        """Median items per second; `items` has a count for each step, of which the first `warmup` do not count."""
        seconds = [after - before for before, after in zip(self._ticks, self._ticks[1:], strict=False)]
        rates = [count / step for count, step in zip(items, seconds, strict=False)]
        return statistics.median(rates[warmup:])


class ClockedTask:
    """A task of the training loop whose steps tick a clock. It evaluates and saves nothing."""

    better: Mapping[str, Better] = {}

    def __init__(self, task: Task[Any], clock: StepClock):
        self.task, self.clock = task, clock

    def loss(self, model: nn.Module, random: StepRandom) -> dict[str, Tensor]:
        self.clock.tick()
        return self.task.loss(model, random)

    def evaluate(self, model: nn.Module) -> Evaluation:
        self.clock.tick()
        return Evaluation({})

    def save(self, model: nn.Module, folder: object) -> None:
        """Nothing to keep."""


def parameters(model: nn.Module) -> float:
    """Millions of them."""
    return sum(weight.numel() for weight in model.parameters()) / 1e6


def with_ratios(rows: list[dict], rate: str) -> list[dict]:
    """`rows`, each with the ratio of its `rate` to that of the last row, which works as the reference does."""
    return [{**row, "ratio": row[rate] / rows[-1][rate]} for row in rows]


def endless(loader: DataLoader) -> Iterator:
    """The loader's batches, epoch after epoch."""
    while True:
        yield from loader
