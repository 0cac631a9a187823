"""Looking up what an option names, with one error for names that are not known."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")


def look_up(name: object, known: Mapping[str, Value], what: str, option: str) -> Value:
    """The value that `name` has among the `known` ones.

    Args:
        what: what the names are of, such as "tokenizer", for the error.
        option: the option that gave the name.

    Raises:
        ValueError: the name is not known; the sentence has those that are, and the nearest one.
    """
    if isinstance(name, str) and name in known:
        return known[name]
    near = get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"Unknown {what} {name!r} (option {option}); known: {', '.join(known)}{hint}")
