"""Dashboards: Weights & Biases through accelerate's trackers, offline unless a key is set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from PIL.Image import Image

from common.checks import checked_dataclass
from common.extras import require


@checked_dataclass("tracker.")
class Tracker:
    """Options `tracker.*`. `metrics.jsonl` is written with any tracker.

    Raises:
        ValueError: the name is unknown.
        ImportError: the tracker's library is not installed.
    """

    name: Literal["none", "wandb"] = "none"
    project: str = "diffusion-bridge"
    run_name: str | None = None
    # online, offline or disabled; by default WANDB_MODE, else online when a W&B key is known, else offline
    mode: str | None = None

    def __post_init__(self):
        if self.name == "wandb":
            require("wandb")

    def log_tables(self, accelerator: Accelerator, tables: dict[str, tuple[list, list[list]]], step: int) -> None:
        """Send tables (columns, rows), such as sample captions, to the dashboard; cells may be PIL images."""
        if self.name == "wandb":
            import wandb  # it takes seconds, and few runs have a dashboard

            run: Any = accelerator.get_tracker("wandb")
            for name, (columns, rows) in tables.items():
                shown = [[wandb.Image(cell) if isinstance(cell, Image) else cell for cell in row] for row in rows]
                run.log_table(name, columns=columns, data=shown, step=step)


def start_tracker(accelerator: Accelerator, tracker: Tracker | None, output_dir: Path, config: dict[str, Any]) -> None:
    """Begin a dashboard run for a loop or an evaluation, its files in `output_dir`."""
    if tracker is None or tracker.name == "none":
        return
    mode = tracker.mode or os.environ.get("WANDB_MODE") or ("online" if _has_wandb_key() else "offline")
    options = {"dir": str(output_dir), "mode": mode, "name": tracker.run_name or output_dir.name}
    accelerator.init_trackers(tracker.project, config=config, init_kwargs={"wandb": options})


def finish_trackers(accelerator: Accelerator) -> None:
    """Close the dashboard's run. `Accelerator.end_training` would leave the processes' group as well."""
    for tracker in accelerator.trackers:
        tracker.finish()


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path.home() / ".netrc"
    return netrc.exists() and "api.wandb.ai" in netrc.read_text(errors="ignore")
