"""One row of a comparison of translations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from evaluation.embeddings.retrieval import TranslationMetrics


@dataclass(frozen=True, kw_only=True)
class TranslationResult:
    """What a translation or a baseline comes to with one seed; None where nothing is drawn.

    seconds: of its training. chosen: {direction: {option: value}}, chosen on the validation pairs.
    metrics: {direction: its metrics}.
    """

    row: str
    seed: int | None
    seconds: float
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, TranslationMetrics]

    def to_json(self) -> dict[str, Any]:
        """The row in `results.json`, where the directions are on the same level."""
        content = asdict(self)
        return content | content.pop("metrics")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TranslationResult:
        names = ("row", "seed", "seconds", "chosen")
        row = {name: value for name, value in content.items() if name in names}
        metrics = {name: value for name, value in content.items() if name not in names}
        return TypeAdapter(cls).validate_python(row | {"metrics": metrics})
