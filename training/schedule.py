"""Learning-rate schedules and the optimizer's parameter groups."""

from __future__ import annotations

import math

from torch import nn


def learning_rate_factor(step: int, steps: int, warmup_steps: int, schedule: str) -> float:
    """Factor on the peak learning rate at `step` of `steps`: linear warm-up, then constant, linear or cosine down to 0,
    or as 1 / sqrt(step).

    `inverse_sqrt` is Noam's schedule (Vaswani et al. 2017, section 5.3); its peak for a model of width d is
    (d x warmup_steps) ** -0.5.
    """
    if schedule == "inverse_sqrt":
        return min((step + 1) / max(warmup_steps, 1), (max(warmup_steps, 1) / (step + 1)) ** 0.5)
    # Not transformers.get_scheduler: its warm-up begins at 0 and would change every run that has one.
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Trainable parameters in two groups: matrices with weight decay; biases, gains and scalars without."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
