"""What the methods of a comparison were tried with before the settings of each were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.table import Column, Table


@dataclass(frozen=True)
class TryResult:
    """One try of a method.

    overrides: its settings beside the method's own. cider: times 100, on the split that chooses. used: whether it was
    the method's best and is what the comparison has. evaluation: the folder.
    """

    method: str
    overrides: list[str]
    cider: float
    used: bool
    evaluation: str | None = None


def tries_table(tries: Sequence[TryResult], methods: Sequence[str]) -> Table:
    """One row per try. A method without tries has one row, for its configured settings."""
    rows: list[dict] = []
    for method in methods:
        its = [entry for entry in tries if entry.method == method]
        rows += [
            {
                "method": method,
                "tries": str(len(its)),
                "settings": " ".join(entry.overrides) or "as configured",
                "CIDEr": entry.cider,
                "used": "yes" if entry.used else "",
            }
            for entry in its
        ] or [{"method": method, "tries": "0", "settings": "as configured", "used": "yes"}]
    columns = (Column("method"), Column("tries"), Column("settings"), Column("CIDEr", 1), Column("used"))
    return Table(rows, columns)
