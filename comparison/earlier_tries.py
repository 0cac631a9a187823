"""Tries of finished comparisons, which a later one need not make again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.reports.comparison_report import read_comparison
from evaluation.reports.tries import TryResult

# What decides a try's score, beside the method's variant and the try's overrides.
PROTOCOL = ("tune_split", "tune_seed", "tune_decoding", "captioner", "ddpm", "pcm_net", "stage_experiment")


def earlier_tries(files: Sequence[str], options: Mapping[str, Any]) -> list[TryResult]:
    """The tries of the comparisons in `files`: `results.json` or their folders.

    Args:
        options: of the comparison that goes by them, as in `configs/compare_methods.yaml`.

    Raises:
        FileNotFoundError: there is no such comparison.
        ValueError: a comparison has no tries; it tried on other data, with another encoder or in another way; or two
            have the same try.
    """
    tries: list[TryResult] = []
    for name in files:
        result = read_comparison(name, option="tried")
        if not result.tries:
            raise ValueError(f"tried={name} has no tries: leave it out")
        _check_protocol(name, result.config, options, {entry.method for entry in result.tries})
        for entry in result.tries:
            if any((entry.method, entry.overrides) == (other.method, other.overrides) for other in tries):
                raise ValueError(f"tried={list(files)}: {entry.method} with {entry.overrides} is in two of them")
            tries.append(entry)
    return tries


def _check_protocol(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], methods: set[str]) -> None:
    values = {key: (theirs.get(key, ours.get(key)), ours.get(key)) for key in PROTOCOL}  # earlier versions had fewer
    for group in ("dataset", "encoder"):
        values[f"{group}.name"] = (theirs.get(group, {}).get("name"), ours[group]["name"])
    for method in sorted(methods):
        variants = (theirs.get("variants", {}).get(method), ours["variants"].get(method))
        values[f"variants.{method}"] = variants
    for key, (their, our) in values.items():
        if their != our:
            raise ValueError(f"tried={name} was tried with {key}={their!r}, and here {key}={our!r}: its tries differ")
