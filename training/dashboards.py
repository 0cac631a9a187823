"""What each dashboard takes beside curves: tables and pictures. accelerate's own trackers send the curves.

Each class wraps one of accelerate's trackers (https://huggingface.co/docs/accelerate/usage_guides/tracking).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL.Image import Image
from tabulate import tabulate

Rows = Sequence[Sequence[Any]]  # cells are strings, numbers, None or PIL images


class Dashboard(Protocol):
    """Sends tables and pictures. `keeps_steps`: whether its pages have the tables of earlier steps at hand."""

    keeps_steps: bool

    def log_table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None: ...

    def log_picture(self, name: str, picture: Image, step: int) -> None: ...


class WandbDashboard:
    """Weights & Biases: tables can be sorted and filtered, and have pictures in their cells."""

    keeps_steps = False

    def __init__(self, tracker: Any):
        self._tracker = tracker

    def log_table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        import wandb  # it takes seconds, and few runs have a dashboard

        shown = [[wandb.Image(cell) if isinstance(cell, Image) else cell for cell in row] for row in rows]
        self._tracker.log_table(name, columns=list(columns), data=shown, step=step)

    def log_picture(self, name: str, picture: Image, step: int) -> None:
        self._tracker.log_images({name: [picture]}, step=step)


class TrackioDashboard:
    """trackio: tables with pictures in their cells, in a local database."""

    keeps_steps = False

    def __init__(self, tracker: Any):
        self._tracker = tracker

    def log_table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        shown = [[trackio.Image(cell) if isinstance(cell, Image) else cell for cell in row] for row in rows]
        self._tracker.log({name: trackio.Table(columns=list(columns), data=shown)}, step=step)

    def log_picture(self, name: str, picture: Image, step: int) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self._tracker.log({name: trackio.Image(picture)}, step=step)


class TensorBoardDashboard:
    """TensorBoard: tables as text, whose slider goes through the steps; pictures under the name of their table."""

    keeps_steps = True

    def __init__(self, tracker: Any):
        self._writer = tracker.tracker  # torch's SummaryWriter

    def log_table(self, name: str, columns: Sequence[str], rows: Rows, step: int) -> None:
        shown = []
        for number, row in enumerate(rows):
            cells = []
            for column, cell in zip(columns, row, strict=True):
                if isinstance(cell, Image):
                    self.log_picture(f"{name}/{column} {number}", cell, step)
                    cell = f"{column} {number}"
                cells.append(_markdown(cell))
            shown.append(cells)
        head = [_markdown(column) for column in columns]
        self._writer.add_text(name, tabulate(shown, head, "pipe", disable_numparse=True), step)
        self._writer.flush()

    def log_picture(self, name: str, picture: Image, step: int) -> None:
        self._writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
        self._writer.flush()


DASHBOARDS: dict[str, type] = {
    "wandb": WandbDashboard,
    "tensorboard": TensorBoardDashboard,
    "trackio": TrackioDashboard,
}


def start_options(name: str, output_dir: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the library's own start takes (`wandb.init`, `trackio.init`, `SummaryWriter`).

    Args:
        options: `run_name`, `mode` and `kind`, what the run is: training, evaluation, comparison or sweep.
    """
    shown = options["run_name"] or output_dir.name
    if name == "wandb":
        return {"dir": str(output_dir), "mode": options["mode"], "name": shown, "job_type": options["kind"]}
    if name == "trackio":
        return {"name": shown, "group": options["kind"], "embed": False}
    return {}


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, str | int | float | bool]:
    """{"loop.steps": 800, ...}: nested options by their dotted names; lists and null are words."""
    options: dict[str, str | int | float | bool] = {}
    for key, value in config.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            options |= flat(value, f"{name}.")
        elif isinstance(value, str | int | float | bool):
            options[name] = value
        else:
            options[name] = "null" if value is None else str(value)
    return options


def _markdown(cell: object) -> str:
    text = "–" if cell is None else " / ".join(str(cell).splitlines())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
