"""What a comparison of generators comes to, as its `results.json` holds it, and its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter

from evaluation.pictures.result import PictureProtocol
from evaluation.table import Column, Table

HIGHER = ("CLIPScore", "R-precision", "R@", "object recall", "noun precision", "place accuracy", "weather accuracy")
LOWER = ("FID", "KID", "Fréchet", "kernel")


@dataclass(frozen=True, kw_only=True)
class GeneratorRow:
    """One evaluation of one generator.

    trained_as: the method whose generator drew; others differ from it at inference alone.
    seed: of training. evaluation_seed: of the captions that are drawn, and of the pictures' noise.
    uses_pairs: whether the method learned from image-text pairs, the encoder aside.
    evaluation: the folder of `scores.json`. training_seconds: of all that was trained for it.
    metrics: {name: value, None for one that could not run}.
    """

    method: str
    trained_as: str
    seed: int
    evaluation_seed: int
    uses_pairs: bool
    evaluation: str
    training_seconds: float
    metrics: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class GeneratorComparison:
    """A comparison of generators.

    facts: the command, commit, date, machine and versions. config: of the comparison.
    protocol: of the first evaluation; seeds and folders differ between them. notes: sentences below the table.
    """

    config: dict[str, Any]
    rows: list[GeneratorRow]
    protocol: PictureProtocol | None = None
    minutes: float | None = None
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What `results.json` holds; the facts are on its top level."""
        content = asdict(self)
        return {**content.pop("facts"), **content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> GeneratorComparison:
        """The comparison that a `results.json` holds. Raises ValueError where a section is not of its kind."""
        names = {known.name for known in fields(cls)} - {"facts"}
        known = {name: value for name, value in content.items() if name in names}
        facts = {name: value for name, value in content.items() if name not in names}
        return TypeAdapter(cls).validate_python(known | {"facts": facts})


def generator_table(rows: Sequence[GeneratorRow], unranked: Sequence[str] = ()) -> Table:
    """One row a method: mean and standard deviation over its evaluations; `unranked` are upper bounds."""
    names = dict.fromkeys(
        name for row in rows for name, value in row.metrics.items() if value is not None and "reference" not in name
    )
    body = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        body.append({"method": method, **{name: [row.metrics.get(name) for row in own] for name in names}})
    return Table(body, [Column("method"), *map(_column, names)], unranked)


def _column(name: str) -> Column:
    if name.startswith(LOWER):
        return Column(name, 3 if name.startswith(("kernel", "KID")) else 2, "lower")
    if name.startswith("diversity"):
        return Column(name, 2)
    return Column(name, 1, "higher" if name.startswith(HIGHER) else None)
