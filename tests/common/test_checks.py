"""Checked options: what is taken, and errors that name the option, its value and what it must be."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, asdict, replace
from inspect import signature
from typing import Literal

import pytest
from pydantic import Field, field_validator, model_validator

from common.checks import Count, checked_dataclass, checked_options


@checked_dataclass(prefix="loop.")
class Options:
    """Some options."""

    steps: int = Field(ge=1)
    noise_std: float | Literal["auto"] = 0.1
    schedule: Literal["linear", "cosine"] = "linear"
    betas: tuple[float, float] = Field((0.9, 0.99), strict=False)

    @field_validator("schedule")
    @classmethod
    def _not_yet(cls, schedule: str) -> str:
        if schedule == "cosine":
            raise ValueError("is not there yet")
        return schedule

    @model_validator(mode="after")
    def _together(self):
        if self.steps == 7 and self.noise_std == "auto":
            raise ValueError("seven steps need a number as noise_std")
        return self


def test_it_is_a_dataclass():
    options = Options(5, noise_std=1, betas=[0.5, 0.6])
    assert asdict(options) == {"steps": 5, "noise_std": 1.0, "schedule": "linear", "betas": (0.5, 0.6)}
    assert replace(options, steps=6).steps == 6 and Options.__doc__ == "Some options."
    with pytest.raises(FrozenInstanceError):
        options.steps = 3
    with pytest.raises(ValueError, match=r"loop\.steps=0"):
        replace(options, steps=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "loop.steps=0 must be greater than or equal to 1"),
        ({"steps": True}, "loop.steps=True must be a valid integer"),
        ({"steps": 1.5}, "loop.steps=1.5 must be a valid integer"),
        ({}, "loop.steps is missing"),
        ({"steps": 1, "stepz": 2}, "there is no option loop.stepz=2"),
        ({"steps": 1, "noise_std": "x"}, "loop.noise_std='x' must be a valid number or 'auto'"),
        ({"steps": 1, "noise_std": float("inf")}, "loop.noise_std=inf must be a finite number or 'auto'"),
        ({"steps": 1, "schedule": "up"}, "loop.schedule='up' must be 'linear' or 'cosine'"),
        ({"steps": 1, "schedule": "cosine"}, "loop.schedule='cosine' is not there yet"),
        ({"steps": 1, "betas": [0.1, "b"]}, "loop.betas.1='b' must be a valid number"),
        ({"steps": 7, "noise_std": "auto"}, "seven steps need a number as noise_std"),
        (
            {"steps": "1", "schedule": 3},
            "loop.steps='1' must be a valid integer; loop.schedule=3 must be 'linear' or 'cosine'",
        ),
    ],
)
def test_errors_are_one_sentence(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Options(**options)


class Network:
    @checked_options("model.")
    def __init__(self, dim: int, width: Count = 8, kind: Literal["mlp", "linear"] = "mlp"):
        self.options = (dim, width, kind)


def test_the_arguments_of_a_constructor_are_checked():
    assert Network(3, 4).options == (3, 4, "mlp") and str(signature(Network)).startswith("(dim: 'int'")
    with pytest.raises(ValueError, match=r"^model\.width=0 must be greater than or equal to 1; model\.kind='cnn' must"):
        Network(3, 0, kind="cnn")
    with pytest.raises(ValueError, match=r"^model\.dim is missing; there is no option model\.depth=2$"):
        Network(depth=2)
