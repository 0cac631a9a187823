"""Whether a folder already has the evaluation that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from training.run_folder import first_difference

Existing = Literal["overwrite", "reuse", "check"]


class Result(Protocol):
    """An evaluation that says what it was of; it may have `unfinished`, which says that more is to come."""

    @property
    def inputs(self) -> Mapping[str, Any] | None: ...


AnyResult = TypeVar("AnyResult", bound=Result)


def finished_result(
    path: Path, read: Callable[[dict], AnyResult], inputs: Mapping[str, Any], existing: Existing
) -> AnyResult | None:
    """The finished evaluation of these inputs in the file `path`; None where there is none, or it is to be overwritten.

    Args:
        read: makes the result of the file's content.
        inputs: all that decides the result.
        existing: what to do with an evaluation that is there: evaluate anew (`overwrite`), reuse it if its inputs are
            these (`reuse`), or fail if they are not (`check`).

    Raises ValueError when there is another one and `existing` is `check`.
    """
    if existing == "overwrite" or not path.exists():
        return None
    try:
        result = read(dict(json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, TypeError):
        difference = f"its {path.name} is damaged"
    else:
        if getattr(result, "unfinished", None):
            return None
        no_inputs = result.inputs is None
        difference = "it does not say of what" if no_inputs else first_difference(result.inputs, inputs)
    if difference is None:
        return result
    if existing == "check":
        raise ValueError(
            f"{path.parent} holds another evaluation ({difference}): give this one a folder of its own with "
            "output_dir=..., or replace the old one with overwrite=true"
        )
    return None
