"""Choosing on validation pairs, for each direction by itself, what has no gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from modality_translation.measure import Translator, measure
from modality_translation.pairs import Pairs


def best_sampling(translator: Translator, validation: Pairs, direction: str, grid: Mapping[str, Sequence]) -> dict:
    """The combination of the grid's sampling options with the highest similarity on `validation`."""
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if not combinations:
        raise ValueError(f"tune={dict(grid)} offers nothing to choose from")
    return max(combinations, key=lambda options: _similarity(translator, validation, direction, options))


def best_of(make: Callable[[float], Translator], values: Sequence, validation: Pairs, direction: str) -> Translator:
    """The translator `make(value)` with the highest similarity on `validation`. Raises ValueError without values."""
    if not values:
        raise ValueError("There must be at least one value to choose from (options ridges and neighbours)")
    return max((make(value) for value in values), key=lambda made: _similarity(made, validation, direction, {}))


def _similarity(translator: Translator, validation: Pairs, direction: str, sampling: Mapping) -> float:
    return measure(translator, validation, (direction,), **sampling)[direction]["similarity"]
