"""Run folders: what a command's output folder holds, and whether its run is new, unfinished or finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from omegaconf import DictConfig, OmegaConf

from common.config import plain
from common.files import write_whole

FINISHED = "finished.json"
RESUME = "resume.pt"
METRICS = "metrics.jsonl"  # a line {"step", metric: number, ...} for each logged step and each evaluation
WEIGHTS = "*.safetensors"
TENSORBOARD = "tensorboard"  # a folder, with tracker=tensorboard
TABLES = "tables.jsonl"  # a line {"step", table: {"columns", "rows"}, ...} for each evaluation that made tables

CAME_LATER = {"modality": "texts"}  # options that earlier versions lacked, and what these did
# They say where and how far a run goes on, not what it computes.
NOT_PART_OF_THE_RUN = ("names", "output_dir", "overwrite", "tracker", "hydra")


def open_run(
    output_dir: str | Path, config: DictConfig, overwrite: bool, inputs: Mapping[str, str] | None = None
) -> str:
    """Prepare a run folder and say in what state it is: 'new', 'unfinished' (resume it) or 'finished' (re-use it).

    The resolved config is written as `config.yaml`, with the hashes of what the run reads under `inputs`: the same
    command on other data is another run. `overwrite` starts again: a new run keeps no state, no metrics and no weights
    of an earlier one, which would pass for its own. All processes of a run may call this at the same time.

    Raises:
        ValueError: the folder holds a run of another configuration, or weights of none, and `overwrite` is false; the
            sentence names the first difference.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    resolved = plain(config) | ({"inputs": dict(inputs)} if inputs else {})
    before, state = None, "new"
    if path.exists() and not overwrite:
        before = plain(OmegaConf.load(path), resolve=False)
        if (folder / FINISHED).exists():
            state = "finished"
        elif (folder / RESUME).exists():
            state = "unfinished"
    if state == "new":
        weights = sorted(folder.glob(WEIGHTS))
        if weights and not path.exists() and not overwrite:
            raise ValueError(
                f"{folder} holds {weights[0].name}, and no run that made it: give this one a folder of its own with "
                "output_dir=..., or replace the weights with overwrite=true"
            )
        for stale in (*weights, *(folder / name for name in (FINISHED, RESUME, METRICS, TABLES))):
            stale.unlink(missing_ok=True)
        shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)  # curves of both runs would be drawn as one
    elif difference := first_difference(before, resolved):
        raise ValueError(
            f"{folder} holds a run of another configuration ({difference}): "
            "give this one a folder of its own with output_dir=..., or replace the old one with overwrite=true"
        )
    if before != resolved:
        write_whole(path, OmegaConf.to_yaml(OmegaConf.create(resolved)))
    return state


def run_options(folder: str | Path) -> dict[str, Any]:
    """The options of the run or evaluation in a folder, as its `config.yaml` has them; none without this file."""
    path = Path(folder) / "config.yaml"
    return plain(OmegaConf.load(path), resolve=False) if path.is_file() else {}


def tables_over_time(output_dir: str | Path) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """{name: (columns, rows)}: a run's tables of all its evaluations, one below the other, the first column `step`."""
    tables: dict[str, tuple[list[str], list[list[Any]]]] = {}
    with (Path(output_dir) / TABLES).open() as file:
        for line in map(json.loads, file):
            step = line.pop("step")
            for name, table in line.items():
                rows = tables.setdefault(name, (["step", *table["columns"]], []))[1]
                rows += [[step, *row] for row in table["rows"]]
    return tables


def difference_from(output_dir: str | Path, config: DictConfig) -> str | None:
    """The difference between the run in a folder, finished or not, and `config`, for which `open_run` would refuse it.

    None where there is no run or no difference. What the run read (`inputs`) is not compared.
    """
    folder = Path(output_dir)
    if not (folder / "config.yaml").exists() or not any((folder / name).exists() for name in (FINISHED, RESUME)):
        return None
    before = plain(OmegaConf.load(folder / "config.yaml"), resolve=False)
    before.pop("inputs", None)
    return first_difference(before, plain(config))


def reuse_run(output_dir: str | Path) -> dict[str, float]:
    """Say that the run in this folder is finished, and return its final metrics."""
    metrics = json.loads((Path(output_dir) / FINISHED).read_text())
    where = f" on {metrics['device']}" if "device" in metrics else ""
    print(f"Already trained{where}: {output_dir} (train it again with overwrite=true)")
    return metrics


def finish_run(output_dir: str | Path, summary: dict) -> None:
    """Mark the run as finished, with its final metrics, and remove its resume state."""
    folder = Path(output_dir)
    write_whole(folder / FINISHED, json.dumps(summary, indent=2) + "\n")
    (folder / RESUME).unlink(missing_ok=True)


def _are_entries(value: object) -> TypeGuard[list]:
    """Whether this is a list of groups of options."""
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def first_difference(before: object, now: object, key: str = "") -> str | None:
    """`seed was 0 there and is 1 now`: the first option in which two configurations differ, None when they do not."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}, key=str):
            as_before_it_came = name not in before and (not now[name] or now[name] == CAME_LATER.get(name))
            if as_before_it_came or (not key and name in NOT_PART_OF_THE_RUN):
                continue
            difference = first_difference(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
            if difference:
                return difference
        return None
    if _are_entries(before) and _are_entries(now) and len(before) == len(now):  # such as the steps of an alignment
        pairs = enumerate(zip(before, now, strict=True))
        differences = (first_difference(one, other, f"{key}[{n}]") for n, (one, other) in pairs)
        return next((difference for difference in differences if difference), None)
    # `auto` accepts any earlier precision, since the hardware decides it; a requested precision does not accept an
    # earlier `auto`. fp32 was called "no".
    same_precision = now == "auto" or (before, now) in (("no", "fp32"), ("fp32", "no"))
    if before == now or (key.rpartition(".")[2] == "precision" and same_precision):
        return None
    return f"{key} was {before!r} there and is {now!r} now"
