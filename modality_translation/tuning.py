"""Choosing options that have no gradient on validation pairs, for each direction by itself."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

from modality_translation.measure import Translator, translated_cosine
from modality_translation.models import Sampling
from modality_translation.pairs import PairedRows
from modality_translation.translation import Translation


def check_grid(grid: Mapping[str, Sequence]) -> None:
    """Raise ValueError unless every option is one of `Sampling`'s, with a list of values that it may have."""
    for option, values in grid.items():
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ValueError(f"tune.{option}={values} must be a list of values to choose from, at least one")
        for value in values:
            Sampling().changed({option: value})


def best_sampling(
    translator: Translation,
    validation: PairedRows,
    direction: str,
    grid: Mapping[str, Sequence],
    sampling: Mapping[str, Any] | None = None,
) -> dict:
    """The combination of the grid's sampling options with the highest similarity on `validation`.

    Values of gamma share a run of the DDIM.

    Args:
        sampling: other changes of the checkpoint's sampling.

    Raises:
        ValueError: see `check_grid`.
    """
    check_grid(grid)
    others = {name: values for name, values in grid.items() if name != "gamma"}
    rows = validation.between(direction)[0]
    best, chosen = -math.inf, {}
    for values in product(*others.values()):
        options = dict(zip(others, values, strict=True))
        gammas = grid.get("gamma")
        for gamma, made in zip(
            gammas or [None],
            translator.translate_each(rows, direction, gammas, **{**(sampling or {}), **options}),
            strict=True,
        ):
            similarity = translated_cosine(made, validation, direction)
            if similarity > best:
                best, chosen = similarity, options if gamma is None else {**options, "gamma": gamma}
    return chosen


def best_of(candidates: Mapping[Hashable, Translator], validation: PairedRows, direction: str) -> Hashable:
    """The name of the candidate with the highest similarity on `validation`."""
    rows = validation.between(direction)[0]

    def similarity(name: Hashable) -> float:
        return translated_cosine(candidates[name].translate(rows, direction), validation, direction)

    return max(candidates, key=similarity)
