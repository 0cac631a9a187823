"""Choosing on validation pairs, for each direction by itself, what has no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from modality_translation.measure import Translator, translated_cosine
from modality_translation.pairs import Pairs
from modality_translation.translation import Translation


def best_sampling(translator: Translation, validation: Pairs, direction: str, grid: Mapping[str, Sequence]) -> dict:
    """The combination of the grid's sampling options with the highest similarity on `validation`.

    Values of gamma share a run of the DDIM.
    """
    if not all(grid.values()):
        raise ValueError(f"tune={dict(grid)} offers nothing to choose from")
    others = {name: values for name, values in grid.items() if name != "gamma"}
    rows = validation.images if direction == "image_to_text" else validation.texts
    best, chosen = -math.inf, {}
    for values in product(*others.values()):
        options = dict(zip(others, values, strict=True))
        gammas = grid.get("gamma")
        for gamma, made in zip(
            gammas or [None], translator.translate_each(rows, direction, gammas, **options), strict=True
        ):
            similarity = translated_cosine(made, validation, direction)
            if similarity > best:
                best, chosen = similarity, options if gamma is None else {**options, "gamma": gamma}
    return chosen


def best_of(make: Callable[[float], Translator], values: Sequence, validation: Pairs, direction: str) -> Translator:
    """The translator `make(value)` with the highest similarity on `validation`. Raises ValueError without values."""
    if not values:
        raise ValueError("There must be at least one value to choose from (options ridges and neighbours)")
    rows = validation.images if direction == "image_to_text" else validation.texts

    def similarity(made: Translator) -> float:
        return translated_cosine(made.translate(rows, direction), validation, direction)

    return max((make(value) for value in values), key=similarity)
