"""Parts of the data that methods are trained on: shares, or numbers of captions or pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part of some captions or pairs.

    label: for tables, `5 %` or `2,000`. name: in names of run folders, `5pct` or `2000`. count: how many
    captions or pairs there are in it. percent: how much of everything that is, rounded.
    """

    label: str
    name: str
    count: int
    percent: float
    is_everything: bool


def parts_of(option: str, values: Sequence[object], everything: int, kind: str) -> list[Part]:
    """The parts that an option asks for: shares (0.05; 1 is all) or whole numbers.

    Args:
        option, kind: what messages call the option, and what is counted.
        everything: how many of these there are.

    Raises:
        ValueError: a value that is neither, or two that are the same part.
    """
    parts: list[Part] = []
    for value in values:
        share = isinstance(value, float) or value == 1
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value <= (1 if share else everything)
        ):
            raise ValueError(
                f"{option}={list(values)} must be shares up to 1 or numbers of {kind} up to {everything:,}, "
                f"not {value!r}"
            )
        count = max(1, round(everything * value)) if share else int(value)
        label, name = (f"{100 * value:g} %", f"{100 * value:g}pct") if share else (f"{value:,}", f"{value}")
        parts.append(Part(label, name, count, round(100 * count / everything, 3), count == everything))
    if len({part.count for part in parts}) < len(parts):
        raise ValueError(f"{option}={list(values)} names a part of the {everything:,} {kind} twice")
    return parts
