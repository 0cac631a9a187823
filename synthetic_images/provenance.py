"""painting.json: what a painted data set must be traced back by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.files import write_json
from embedding_space.errors import MissingTables

FILE = "painting.json"


@dataclass(frozen=True)
class Provenance:
    """Where the pictures of a data set come from.

    Attributes:
        images: their class, "synthetic" or "unpaired real photos".
        painter: its kind and options.
        source: name and `tables_hash` of the data set whose captions they show, and its `text_split`.
        seed: of all randomness.
        max_captions: so many were drawn from the text split; None for all.
        captions: how many were to have a picture.
        pictures: how many have one.
        defects: how many there are of each kind; None where the painter does not know.
        facts: of the run and of the painter: command, commit, versions, pictures per second.
    """

    images: str
    painter: Mapping[str, Any]
    source: Mapping[str, Any]
    seed: int
    max_captions: int | None
    captions: int = 0
    pictures: int = 0
    defects: Mapping[str, int] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What determines the pictures, by the names of options."""
        painter = {f"painter.{name}": value for name, value in self.painter.items()}
        source = {f"source.{name}": value for name, value in self.source.items()}
        return {**painter, **source, "seed": self.seed, "max_captions": self.max_captions}

    def write(self, root: Path) -> None:
        """Write it beside the tables in `root`."""
        write_json(root / FILE, asdict(self))

    @classmethod
    def read(cls, root: Path | str) -> Provenance:
        """That of the painted data set in `root`.

        Raises:
            MissingTables: there is no such data set, or it is not finished.
        """
        path = Path(root) / FILE
        if not path.is_file():
            raise MissingTables(Path(root))
        return cls(**json.loads(path.read_text(encoding="utf-8")))
