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
    with pytest.raises(ValueError, match=re.escape(f"loop.{name}={value!r} must be a whole number, at least 1")):
        make_config(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluate_every": 0}, "loop.evaluate_every=0 must be null or a whole number, at least 1"),
        ({"checkpoint_every": "often"}, "loop.checkpoint_every='often' must be null or a whole number"),
        ({"warmup_steps": -1}, "loop.warmup_steps=-1 must be a whole number, at least 0"),
        ({"seed": -1}, "^seed=-1 must be a whole number, at least 0"),
        ({"seed": "zero"}, "^seed='zero' must be a whole number"),
        ({"learning_rate": 0}, "loop.learning_rate=0 must be a number above 0"),
        ({"learning_rate": "1e-3x"}, "loop.learning_rate='1e-3x' must be a number above 0"),
        ({"learning_rate": float("nan")}, "loop.learning_rate=nan must be a number above 0"),
        ({"weight_decay": -0.1}, "loop.weight_decay=-0.1 must be a number, at least 0"),
        ({"clip_norm": 0.0}, "loop.clip_norm=0.0 must be null or a number above 0"),
        ({"ema_decay": 1.0}, "loop.ema_decay=1.0 must be null or a number between 0 and 1"),
        ({"betas": [0.9]}, "must be two numbers from 0 to below 1"),
        ({"betas": 0.9}, "loop.betas=0.9 must be two numbers"),
        ({"schedule": "step"}, "loop.schedule='step' must be one of constant, linear, cosine"),
        ({"precision": "int8"}, "loop.precision='int8' must be one of auto, fp32, bf16, fp16, no"),
    ],
)
def test_bad_values_are_refused_naming_the_option(changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_nulls_bounds_and_lists_of_yaml_are_taken():
    config = make_config(steps=1, learning_rate=1, warmup_steps=0, clip_norm=None, evaluate_every=None, betas=[0, 0.99])
    assert config.betas == [0, 0.99] and config.clip_norm is None
