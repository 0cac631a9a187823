"""The training loop's options, and what each of them may be."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from common.checks import BelowOne, Count, NotNegative, Positive, Whole, checked_dataclass


@checked_dataclass("loop.")
class LoopConfig:
    """How to train; every field is an option `loop.<field>` of the stages' configs, but for `seed`, which is `seed`.

    Raises:
        ValueError: a value is out of range; the sentence names its option.
    """

    steps: Count
    batch_size: Count  # global: over all processes and micro-batches
    learning_rate: Positive
    weight_decay: NotNegative = 0.0
    betas: Annotated[tuple[BelowOne, BelowOne], Field(strict=False)] = (0.9, 0.999)  # of AdamW; YAML has lists
    # cosine and linear fall to 0; inverse_sqrt falls as 1 / sqrt(step) and is Noam's, where learning_rate is its peak
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"] = "cosine"
    warmup_steps: Whole = 0
    clip_norm: Positive | None = 1.0
    clip_value: Positive | None = None  # of each gradient by itself, before clip_norm
    gradient_accumulation: Count = 1  # micro-batches per step
    precision: Literal["auto", "fp32", "bf16", "fp16", "no"] = "fp32"  # of autocast; "no" is fp32 in older configs
    compile: bool = False  # torch.compile
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    ema_every: Count = 1
    evaluate_every: Count | None = None  # steps; the end is always evaluated
    checkpoint_every: Count | None = None  # steps; an interrupt always leaves a checkpoint
    keep: str = "last"  # "last", or the name of a validation metric whose best value chooses the weights
    log_every: Count = 20
    seed: Whole = 0


def loop_config_of(options: dict[str, Any], seed: int, epochs: int | None, items: int) -> LoopConfig:
    """The loop's options, its steps those of so many `epochs` over so many items unless epochs is None."""
    if epochs is None:
        return LoopConfig(seed=seed, **options)
    if options["steps"] is not None:
        raise ValueError(
            f"epochs={epochs} and loop.steps={options['steps']} both say how long to train: set one of them to null"
        )
    loop_config = LoopConfig(seed=seed, **{**options, "steps": epochs})
    return replace(loop_config, steps=epochs * max(items // loop_config.batch_size, 1))
