"""The loop's options: what they may be, and the sentence when they are something else."""

from __future__ import annotations

import re

import pytest

from training.loop_config import LoopConfig


def make_config(**changes) -> LoopConfig:
    return LoopConfig(**{"steps": 20, "batch_size": 8, "learning_rate": 0.05, **changes})


@pytest.mark.parametrize("name", ["steps", "batch_size", "log_every", "gradient_accumulation", "ema_every"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "many", None, True])
def test_counts_are_whole_numbers_from_one(name, value):
    rule = "greater than or equal to 1" if value in (0, -1) else "a valid integer"
    with pytest.raises(ValueError, match=re.escape(f"loop.{name}={value!r} must be {rule}")):
        make_config(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluate_every": 0}, "loop.evaluate_every=0 must be greater than or equal to 1"),
        ({"checkpoint_every": "often"}, "loop.checkpoint_every='often' must be a valid integer"),
        ({"warmup_steps": -1}, "loop.warmup_steps=-1 must be greater than or equal to 0"),
        ({"seed": -1}, "seed=-1 must be greater than or equal to 0"),
        ({"learning_rate": 0}, "loop.learning_rate=0 must be greater than 0"),
        ({"learning_rate": "1e-3x"}, "loop.learning_rate='1e-3x' must be a valid number"),
        ({"learning_rate": float("nan")}, "loop.learning_rate=nan must be a finite number"),
        ({"weight_decay": -0.1}, "loop.weight_decay=-0.1 must be greater than or equal to 0"),
        ({"clip_norm": 0.0}, "loop.clip_norm=0.0 must be greater than 0"),
        ({"ema_decay": 1.0}, "loop.ema_decay=1.0 must be less than 1"),
        ({"betas": [0.9]}, "loop.betas.1 is missing"),
        ({"betas": [0.9, 1]}, "loop.betas.1=1 must be less than 1"),
        ({"betas": 0.9}, "loop.betas=0.9 must be a valid tuple"),
        ({"schedule": "step"}, "loop.schedule='step' must be 'constant', 'linear', 'cosine' or 'inverse_sqrt'"),
        ({"precision": "int8"}, "loop.precision='int8' must be 'auto', 'fp32', 'bf16', 'fp16' or 'no'"),
    ],
)
def test_bad_values_are_refused_naming_the_option(changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_nulls_bounds_and_lists_of_yaml_are_taken():
    config = make_config(steps=1, learning_rate=1, warmup_steps=0, clip_norm=None, evaluate_every=None, betas=[0, 0.99])
    assert config.betas == (0, 0.99) and config.clip_norm is None
