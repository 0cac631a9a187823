"""Dashboards through accelerate's trackers: Weights & Biases (offline unless a key is set), TensorBoard, trackio."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from PIL.Image import Image

from common.checks import checked_dataclass
from common.extras import require
from training.dashboards import DASHBOARDS, Dashboard, flat, start_options
from training.run_folder import TENSORBOARD, tables_over_time

PROJECT = "diffusion-bridge"
# TensorBoard has no projects: its files are in the run folder, whose path names the run.
_OPTIONS = {"wandb": ("project", "run_name", "mode"), "trackio": ("project", "run_name"), "tensorboard": ()}
Tables = Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]]  # {name: (columns, rows)}
Kind = Literal["training", "evaluation", "comparison", "sweep"]


@checked_dataclass("tracker.")
class Tracker:
    """Options `tracker.*`. `metrics.jsonl` is written with any tracker.

    Raises:
        ValueError: the name or the mode is unknown, or the tracker has no such option.
        ImportError: the tracker's library is not installed.
    """

    name: Literal["none", "wandb", "tensorboard", "trackio"] = "none"
    project: str | None = None  # diffusion-bridge by default
    run_name: str | None = None
    # by default WANDB_MODE, else online when a W&B key is known, else offline
    mode: Literal["online", "offline", "disabled"] | None = None

    def __post_init__(self):
        if self.name == "none":
            return
        for option in ("project", "run_name", "mode"):
            value = getattr(self, option)
            if value is not None and option not in _OPTIONS[self.name]:
                which = " and ".join(name for name, options in _OPTIONS.items() if option in options)
                raise ValueError(f"tracker.{option}={value} is an option of {which}, not of tracker={self.name}")
        require(self.name)

    def log_tables(self, accelerator: Accelerator, tables: Tables, step: int) -> None:
        """Send tables, such as metrics, to the dashboard; cells may be PIL images."""
        if dashboard := self._dashboard(accelerator):
            for name, (columns, rows) in tables.items():
                dashboard.log_table(name, columns, rows, step)

    def log_samples(self, accelerator: Accelerator, tables: Tables, step: int, output_dir: Path) -> None:
        """Send an evaluation's tables, such as sample captions, so that the dashboard shows them over time.

        Where a dashboard shows a table's last state alone, it gets those of all evaluations in the run folder's
        `tables.jsonl`, this one included, with a column `step`.
        """
        if dashboard := self._dashboard(accelerator):
            self.log_tables(accelerator, tables if dashboard.keeps_steps else tables_over_time(output_dir), step)

    def log_pictures(self, accelerator: Accelerator, pictures: Mapping[str, Image], step: int) -> None:
        """Send pictures, such as a figure, to the dashboard."""
        if dashboard := self._dashboard(accelerator):
            for name, picture in pictures.items():
                dashboard.log_picture(name, picture, step)

    def _dashboard(self, accelerator: Accelerator) -> Dashboard | None:
        return None if self.name == "none" else DASHBOARDS[self.name](accelerator.get_tracker(self.name))


def tracker_arguments(tracker: Tracker | None, output_dir: str | Path) -> dict[str, Any]:
    """The arguments of `Accelerator` that name the tracker, and the folder of its files."""
    if tracker is None or tracker.name == "none":
        return {}
    return {"log_with": tracker.name, "project_dir": str(output_dir)}


def start_tracker(
    accelerator: Accelerator, tracker: Tracker | None, output_dir: Path, config: Mapping[str, Any], kind: Kind
) -> None:
    """Begin a dashboard's run, its files in `output_dir` (those of trackio are in its own folder, `TRACKIO_DIR`).

    Args:
        config: what the dashboard shows as the run's options.
        kind: of the run, by which dashboards group runs.
    """
    if tracker is None or tracker.name == "none":
        return
    mode = tracker.mode or os.environ.get("WANDB_MODE") or ("online" if has_wandb_key() else "offline")
    options = start_options(tracker.name, output_dir, {"run_name": tracker.run_name, "mode": mode, "kind": kind})
    # TensorBoard's project is the folder of its files, and its options must be flat.
    tensorboard = tracker.name == "tensorboard"
    project = TENSORBOARD if tensorboard else tracker.project or PROJECT
    shown = flat(config) if tensorboard else dict(config)
    accelerator.init_trackers(project, config=shown, init_kwargs={tracker.name: options})


def send_results(
    tracker: Tracker,
    output_dir: Path,
    config: Mapping[str, Any],
    kind: Kind,
    metrics: Mapping[str, float] | None = None,
    tables: Tables | None = None,
    pictures: Mapping[str, Image] | None = None,
) -> None:
    """A dashboard's run of one step, such as an evaluation's: numbers, tables and pictures."""
    accelerator = Accelerator(**tracker_arguments(tracker, output_dir))
    start_tracker(accelerator, tracker, output_dir, config, kind)
    try:
        accelerator.log(dict(metrics or {}), step=0)
        tracker.log_tables(accelerator, tables or {}, step=0)
        tracker.log_pictures(accelerator, pictures or {}, step=0)
    finally:
        finish_trackers(accelerator)


def finish_trackers(accelerator: Accelerator) -> None:
    """Close the dashboard's run. `Accelerator.end_training` would leave the processes' group as well."""
    for tracker in accelerator.trackers:
        tracker.finish()


def has_wandb_key() -> bool:
    """Whether the environment or `~/.netrc` has a key of Weights & Biases."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path.home() / ".netrc"
    return netrc.exists() and "api.wandb.ai" in netrc.read_text(errors="ignore")
