"""The training loop's options, and what each of them may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common import device
from training.schedule import SCHEDULES

PRECISIONS = (*device.PRECISIONS, "no")


@dataclass
class LoopConfig:
    """How to train; every field is an option `loop.<field>` of the stages' configs, but for `seed`, which is `seed`.

    Raises ValueError naming the option whose value will not do.
    """

    steps: int
    batch_size: int  # global: over all processes and micro-batches
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: str = "cosine"  # constant, linear or cosine, down to 0
    warmup_steps: int = 0
    clip_norm: float | None = 1.0
    gradient_accumulation: int = 1  # micro-batches a step
    precision: str = "fp32"  # auto, fp32, bf16 or fp16 autocast; "no" is fp32
    compile: bool = False  # torch.compile
    ema_decay: float | None = None
    ema_every: int = 1
    evaluate_every: int | None = None  # steps; the end is always evaluated
    checkpoint_every: int | None = None  # steps; an interrupt always leaves a checkpoint
    keep: str = "last"  # "last", or the name of an evaluation figure whose lowest value chooses the weights
    log_every: int = 20
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch_size", "gradient_accumulation", "log_every", "ema_every"):
            self._check(name, _is_whole(getattr(self, name), 1), "a whole number, at least 1")
        for name in ("evaluate_every", "checkpoint_every"):
            value = getattr(self, name)
            self._check(name, value is None or _is_whole(value, 1), "null or a whole number, at least 1")
        for name in ("warmup_steps", "seed"):
            self._check(name, _is_whole(getattr(self, name), 0), "a whole number, at least 0")
        self._check("learning_rate", _is_number(self.learning_rate) and self.learning_rate > 0, "a number above 0")
        self._check("weight_decay", _is_number(self.weight_decay) and self.weight_decay >= 0, "a number, at least 0")
        is_norm = self.clip_norm is None or (_is_number(self.clip_norm) and self.clip_norm > 0)
        self._check("clip_norm", is_norm, "null or a number above 0")
        is_decay = self.ema_decay is None or (_is_number(self.ema_decay) and 0 < self.ema_decay < 1)
        self._check("ema_decay", is_decay, "null or a number between 0 and 1")
        are_betas = isinstance(self.betas, (list, tuple)) and len(self.betas) == 2
        are_betas = are_betas and all(_is_number(beta) and 0 <= beta < 1 for beta in self.betas)
        self._check("betas", are_betas, "two numbers from 0 to below 1")
        self._check("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        self._check("compile", isinstance(self.compile, bool), "true or false")
        self._check("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")

    def _check(self, name: str, good: bool, rule: str) -> None:
        if not good:
            option = "seed" if name == "seed" else f"loop.{name}"
            raise ValueError(f"{option}={getattr(self, name)!r} must be {rule}")


def _is_number(value: object) -> bool:
    """Whether it is a finite number; True and False are none, though Python counts them as 1 and 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
