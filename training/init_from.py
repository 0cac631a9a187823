"""Trainings that start from a model that was trained before (option init_from)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Model = TypeVar("Model")


def load_start(load: Callable[[], Model], checkpoint: str) -> Model:
    """What `load` gives; its errors name the option.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it is damaged, or does not fit.
    """
    try:
        return load()
    except (ValueError, FileNotFoundError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"init_from={checkpoint}: {error}") from error


def other_option(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """The first option whose values differ, or None; one that is missing is None."""
    return next((name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)), None)
