"""One line for each stage of a long command, with the time that it took and the time that is left."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A planned stage.

    Attributes:
        label: what the line calls it.
        kind: stages of one kind take about equally long.
        seconds: the expected duration before any stage of its kind was measured; 0 for a stage that is done already.
    """

    label: str
    kind: str
    seconds: float


class StageClock:
    """Prints `[3/9] training c3 ... 1:20, about 6 min left` after each stage of a plan, to standard output.

    Args:
        plan: all stages, in their order.
    """

    def __init__(self, plan: Sequence[Stage]):
        self.plan = list(plan)
        self._done = 0
        self._measured: dict[str, list[float]] = defaultdict(list)
        self._ratios: list[tuple[float, float]] = []  # (measured, expected) seconds

    @contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Run the next stage of the plan. Raises ValueError when it has another label."""
        expected = self.plan[self._done] if self._done < len(self.plan) else None
        if expected is None or expected.label != label:
            raise ValueError(f"The next stage is {expected and expected.label!r}, not {label!r}")
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self._done += 1
        if expected.seconds:
            self._measured[expected.kind].append(seconds)
            self._ratios.append((seconds, expected.seconds))
        left = self.seconds_left()
        rest = f", about {in_words(left)} left" if left >= 1 else ""
        print(f"[{self._done}/{len(self.plan)}] {label} ... {as_clock(seconds)}{rest}", flush=True)

    def seconds_left(self) -> float:
        """The expected seconds of the stages to come: as long as the measured ones of their kind took, or else as
        planned, times how much longer than planned the others took."""
        measured, planned = (sum(values) for values in zip(*self._ratios, strict=True)) if self._ratios else (1, 1)
        left = 0.0
        for stage in self.plan[self._done :]:
            known = self._measured.get(stage.kind)
            if stage.seconds:
                left += sum(known) / len(known) if known else stage.seconds * measured / planned
        return left


def as_clock(seconds: float) -> str:
    """Such as 1:20 or 2:05:09."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def in_words(seconds: float) -> str:
    """Such as 40 s, 6 min or 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def with_seed(label: str, seed: int, seeds: Sequence[int]) -> str:
    """The label of a stage, with the seed where there are several."""
    return f"seed {seed}: {label}" if len(seeds) > 1 else label
