"""Which weights a run keeps: the last ones, or those of a metric's best value (option loop.keep)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from training.loop_config import LoopConfig

Better = Literal["lower", "higher"]


class KeptWeights:
    """The best value so far of the metric that chooses the weights.

    Args:
        config: whose `keep` names the metric.
        better: the metrics that may choose, each with the values that are better.
        pretrained: whether the weights of the start may be chosen, too.

    Raises:
        ValueError: `keep` names none of them, or there is one evaluation alone to choose from.
    """

    def __init__(self, config: LoopConfig, better: Mapping[str, Better], pretrained: bool = False):
        self.config, self.better = config, better
        self.best = math.inf  # negative where higher values are better
        keep = config.keep
        if keep == "last":
            return
        if keep not in better:
            known = ", ".join(f"{name} ({value} is better)" for name, value in better.items())
            raise ValueError(
                f"keep={keep!r} (option loop.keep) is neither 'last' nor one of this run's metrics that can choose the "
                f"weights: {known or 'it has none'}"
            )
        if config.evaluate_every is None and not pretrained:
            raise ValueError(
                f"loop.keep={keep} has the last evaluation alone to choose from (loop.evaluate_every=null): set "
                "loop.evaluate_every to a number of steps, or loop.keep=last"
            )

    @property
    def are_latest(self) -> bool:
        """Whether a checkpoint of any step may be kept: the last one counts, or none was chosen yet."""
        return self.config.keep == "last" or self.best == math.inf

    def takes(self, metrics: Mapping[str, float], step: int) -> bool:
        """Whether the weights that were evaluated after `step` are the ones to keep so far.

        Raises:
            ValueError: the metric is not finite.
        """
        keep = self.config.keep
        if keep == "last":
            return step == self.config.steps
        if not math.isfinite(metrics[keep]):
            raise ValueError(
                f"{keep} is {metrics[keep]} at step {step} and cannot choose the weights: "
                "lower loop.learning_rate, or set loop.keep=last"
            )
        value = metrics[keep] if self.better[keep] == "lower" else -metrics[keep]
        is_better = value < self.best
        self.best = min(self.best, value)
        return is_better
