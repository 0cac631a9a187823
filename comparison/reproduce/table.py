"""A published table, as a file in `configs/reproduce/` describes it: its numbers, and the stages that give ours."""

from __future__ import annotations

import json
from dataclasses import field
from pathlib import Path
from typing import Annotated

from omegaconf import OmegaConf
from pydantic import Field, TypeAdapter, ValidationError

from common.checks import NotNegative, checked_dataclass, readable
from common.paths import CONFIGS
from common.plain import plain
from common.registry import look_up

FOLDER = CONFIGS / "reproduce"
Hours = Annotated[list[NotNegative], Field(min_length=2, max_length=2)]


@checked_dataclass("stages.")
class StageOptions:
    """A stage of a table.

    Attributes:
        stage: `configs/<stage>.yaml`, a name in `stages.RUN`.
        options: of that command.
        hours: estimates for one GPU, the least and the most.
        disk_gb: what its files take at most while it runs.
    """

    stage: str
    options: list[str] = field(default_factory=list)
    hours: Hours = field(default_factory=lambda: [0.0, 0.0])
    disk_gb: NotNegative = 0.0


@checked_dataclass("rows.")
class PublishedRow:
    """A row of the table.

    Attributes:
        name: as our result calls it: a method of a comparison, a row of a comparison of translations, or any name where
            one captioner is evaluated.
        reported: {metric: published value}, by our metrics' names; times 100 where ours are.
        label: as the paper calls it.
    """

    name: str
    reported: Annotated[dict[str, float], Field(min_length=1)]
    label: str | None = None


@checked_dataclass("downloads.")
class Download:
    """Something that is fetched, with the terms that hold for it."""

    what: str
    gigabytes: NotNegative
    license: str


@checked_dataclass()
class PublishedTable:
    """A table and how it is run again.

    Attributes:
        name: of its file.
        title: what was measured.
        paper, url: authors, place and year; where it is.
        source: where the numbers below stand.
        rows: the published ones that are run again.
        stages: in their order.
        downloads: what they fetch.
        gpu_gb: memory of one GPU that they need.
        deviations: what is known to differ from the paper.
    """

    name: str
    title: str
    paper: str
    url: str | None
    source: str
    rows: Annotated[list[PublishedRow], Field(min_length=1)]
    stages: Annotated[list[StageOptions], Field(min_length=1)]
    downloads: list[Download]
    gpu_gb: NotNegative
    deviations: list[str]


def read_table(name: str, folder: Path = FOLDER) -> PublishedTable:
    """The table of `configs/reproduce/<name>.yaml`.

    Raises:
        ValueError: there is no such table, or its file lacks something.
    """
    path = look_up(name, {path.stem: path for path in sorted(folder.glob("*.yaml"))}, "table", "table")
    try:
        content = json.dumps(
            {"name": name, **plain(OmegaConf.load(path), resolve=False)}
        )  # of JSON, strict types take objects
        return TypeAdapter(PublishedTable).validate_json(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {readable(error)}") from error
