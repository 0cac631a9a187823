"""Trainings that start from a model that was trained before (option init_from)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def errors_of_start(checkpoint: str) -> Iterator[None]:
    """Where the model to start from is loaded and checked: a FileNotFoundError or ValueError names the option."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"init_from={checkpoint}: {error}") from error


def other_option(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """The first option whose values differ, or None; one that is missing is None."""
    return next((name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)), None)
