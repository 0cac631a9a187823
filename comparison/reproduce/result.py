"""What running a table again came to: published numbers, ours and their differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from evaluation.table import Column, Table


@dataclass(frozen=True, kw_only=True)
class ReproducedRow:
    """A row of the table.

    reported: {metric: published value}. ours: {metric: its value for each seed}, of more metrics perhaps; None where it
    could not be measured, and a metric without any value is missing. difference: of the mean over seeds to the
    published value, where it was measured for every seed.
    """

    name: str
    label: str
    reported: dict[str, float]
    ours: dict[str, list[float | None]]
    difference: dict[str, float]


@dataclass(frozen=True)
class RunStage:
    """A stage: its folder, whether it was done already, and the seconds that it took now."""

    stage: str
    command: str
    folder: str
    seed: int | None
    skipped: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A table, run again.

    overrides: {stage: options that differ from the table's}; with any, the numbers are not those of the table.
    facts: of the run: command, commit, date, machine, versions.
    """

    table: str
    title: str
    paper: str
    source: str
    url: str | None = None
    seeds: list[int]
    rows: list[ReproducedRow]
    stages: list[RunStage]
    deviations: list[str]
    overrides: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What `result.json` holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Reproduction:
        """The reproduction that a `result.json` holds. Raises ValueError where it lacks something."""
        return TypeAdapter(cls).validate_python(dict(content))

    def _missing(self) -> Iterator[str]:
        """A sentence for each published number whose mean over seeds is missing because of some of them."""
        for row in self.rows:
            for name, values in row.ours.items():
                lost = [str(seed) for seed, value in zip(self.seeds, values, strict=True) if value is None]
                if name in row.reported and lost:
                    some = f"{len(values) - len(lost)} of {len(values)} seeds, and not for {', '.join(lost)}"
                    yield f"No mean of {name} of {row.label}: it was measured for {some}."

    def text(self) -> str:
        """The table as text: published, ours and the difference of each row, and what is known to differ."""
        metrics = list(dict.fromkeys(metric for row in self.rows for metric in row.reported))
        digits = 4 if all(abs(value) <= 1 for row in self.rows for value in row.reported.values()) else 1
        lines: list[dict[str, Any]] = []
        for row in self.rows:
            lines.append({"row": row.label, "numbers": "published", **row.reported})
            lines.append({"row": "", "numbers": "ours", **{name: row.ours.get(name) for name in metrics}})
            differences = {name: f"{value:+.{digits}f}" for name, value in row.difference.items()}
            lines.append({"row": "", "numbers": "difference", **differences})
        table = Table(lines, [Column("row"), Column("numbers"), *(Column(name, digits) for name in metrics)])
        seeds = (
            f"seed {self.seeds[0]}" if len(self.seeds) == 1 else f"mean ± sd of seeds {', '.join(map(str, self.seeds))}"
        )
        notes = [f"{self.title}; {seeds}.", f"Published: {self.paper}; {self.source}.", "Known to differ:"]
        notes += [f"- {deviation}" for deviation in self.deviations]
        notes += [*self._missing()]
        if changed := "; ".join(f"{stage}: {' '.join(options)}" for stage, options in self.overrides.items()):
            notes.append(f"NOT THE TABLE'S SETTINGS, and so not comparable with it: {changed}")
        return "\n".join([table.text(), "", *notes])
