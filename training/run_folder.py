"""Run folders: what a command's output folder holds, and whether a run there is new, unfinished or done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

FINISHED = "finished.json"
RESUME = "resume.pt"
METRICS = "metrics.jsonl"

# They say where and how far a run goes on, not what it computes.
NOT_PART_OF_THE_RUN = ("output_dir", "overwrite", "tracker", "hydra")


def open_run(
    output_dir: str | Path, config: DictConfig, overwrite: bool, inputs: Mapping[str, str] | None = None
) -> str:
    """Prepare a run folder and say in what state it is: 'new', 'unfinished' (resume it) or 'finished' (re-use it).

    The resolved config is written as `config.yaml`, with the hashes of what the run reads under `inputs`: the same
    command on other data is another run. A folder that holds a run of another configuration is refused
    with a ValueError naming the first difference, unless `overwrite`, which starts afresh.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    resolved = OmegaConf.to_container(config, resolve=True) | ({"inputs": dict(inputs)} if inputs else {})
    if overwrite:
        for name in (FINISHED, RESUME, METRICS, "config.yaml"):
            (folder / name).unlink(missing_ok=True)
    state = "new"
    if path.exists():
        before = OmegaConf.to_container(OmegaConf.load(path))
        difference = _first_difference(before, resolved)
        if difference and ((folder / FINISHED).exists() or (folder / RESUME).exists()):
            raise ValueError(
                f"{folder} holds a run of another configuration ({difference}): "
                "give this one a folder of its own with output_dir=..., or replace the old one with overwrite=true"
            )
        if (folder / FINISHED).exists():
            state = "finished"
        elif (folder / RESUME).exists():
            state = "unfinished"
    OmegaConf.save(OmegaConf.create(resolved), path)
    return state


def finish_run(output_dir: str | Path, summary: dict) -> None:
    """Mark the run as done, with its closing figures; its resume state is no longer needed."""
    folder = Path(output_dir)
    (folder / FINISHED).write_text(json.dumps(summary, indent=2) + "\n")
    (folder / RESUME).unlink(missing_ok=True)


def _first_difference(before: object, now: object, key: str = "") -> str | None:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}, key=str):
            if not key and name in NOT_PART_OF_THE_RUN:
                continue
            difference = _first_difference(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
            if difference:
                return difference
        return None
    return None if before == now else f"{key} was {before!r} there and is {now!r} now"
