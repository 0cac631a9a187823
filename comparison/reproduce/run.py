"""A published table, run again: the plan, the checks, the stages, and the numbers side by side.

The work behind `scripts/reproduce.py`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from common.files import write_json
from common.plain import plain
from common.provenance import run_facts
from comparison.reproduce.needs import Need, check_needs
from comparison.reproduce.result import ReproducedRow, Reproduction, RunStage
from comparison.reproduce.stages import RUN, PlannedStage, gather, plan_stages
from comparison.reproduce.table import PublishedTable, read_table
from comparison.stages import as_clock
from evaluation.table import Table, mean_and_deviation

RESULT = "result.json"


def reproduce(config: DictConfig) -> Reproduction | None:
    """Run as `configs/reproduce.yaml` says; returns what `result.json` holds, None after a dry run.

    Raises:
        ValueError: no such table, an option that a stage refuses, a folder of another run, or something that is needed
            is missing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "reproduce.py is one process: run it alone with dry_run=true, run the stages that it shows behind "
            "torchrun, then run it again, which skips them"
        )
    facts, table = run_facts(), read_table(config.table)
    overrides = {name: list(config[name]) for name in RUN if config[name]}
    stages = plan_stages(table, list(config.seeds), overrides)
    needs = check_needs(table, stages)
    print(_plan(table, stages, needs))
    if config.dry_run:
        return None
    _refuse(needs, config.check_machine)
    done = list(_run(stages))
    result = Reproduction(
        table=table.name,
        title=table.title,
        paper=table.paper,
        source=table.source,
        url=table.url,
        seeds=list(config.seeds),
        rows=_rows(table, gather(table, stages, list(config.seeds))),
        stages=done,
        deviations=table.deviations,
        overrides=overrides,
        facts={**facts, "config": plain(config)},
    )
    path = Path(config.output_dir) / RESULT
    write_json(path, result.to_json())
    print(f"\n{result.text()}\n\nThis table as JSON: {path}")
    return result


def _run(stages: Sequence[PlannedStage]) -> list[RunStage]:
    """Run the stages that are not done. One that measures what was made anew compares for itself what it has."""
    done, anew = [], False
    for number, stage in enumerate(stages, 1):
        where, started = f"[{number}/{len(stages)}] {stage.label}", time.perf_counter()
        skipped = not (anew and stage.measures) and stage.is_done()
        if skipped:
            print(f"\n{where}: done already, {stage.folder}", flush=True)
        else:
            print(f"\n{where}", flush=True)
            stage.run()
            anew = True
            print(f"{where}: took {as_clock(time.perf_counter() - started)}", flush=True)
        seconds = 0.0 if skipped else round(time.perf_counter() - started, 1)
        done.append(RunStage(stage.name, stage.command, str(stage.folder), stage.seed, skipped, seconds))
    return done


def _rows(table: PublishedTable, measured: Mapping[str, Mapping[str, list[float | None]]]) -> list[ReproducedRow]:
    rows = []
    for row in table.rows:
        ours = dict(measured[row.name])
        means = {metric: mean_and_deviation(ours.get(metric))[0] for metric in row.reported}
        difference = {name: round(value - row.reported[name], 6) for name, value in means.items() if value is not None}
        label = row.label or row.name
        rows.append(ReproducedRow(name=row.name, label=label, reported=row.reported, ours=ours, difference=difference))
    return rows


def _plan(table: PublishedTable, stages: Sequence[PlannedStage], needs: Sequence[Need]) -> str:
    """What will be run, fetched and needed, and the terms that hold."""
    steps = [
        {
            "stage": stage.label,
            "hours, one GPU": _hours(stage.options.hours),
            "disk, GB": f"{stage.options.disk_gb:g}",
            "state": "done" if stage.is_done() else "to do",
        }
        for stage in stages
    ]
    fetched = [
        {"download": each.what, "GB": f"{each.gigabytes:g}", "license or terms": each.license}
        for each in table.downloads
    ]
    states: Mapping[bool | None, str] = {True: "yes", False: "NO", None: "look yourself"}
    needed = [
        {"needed": need.what, "there": states[need.enough], "what there is": need.there or need.remedy}
        for need in needs
    ]
    where = f" ({table.url})" if table.url else ""
    total = [sum(stage.options.hours[end] for stage in stages) for end in (0, 1)]
    parts = [
        f"{table.title}\n{table.paper}{where}; published numbers: {table.source}",
        Table(steps).text(),
        Table(fetched).text(),
        Table(needed).text() if needed else "Nothing more is needed.",
        "\n".join(["Each stage by hand:", *(f"    {stage.command}" for stage in stages)]),
        f"Hours in all: {_hours(total)}, estimates (docs/scaling.md). By going on you accept these licenses and terms.",
    ]
    return "\n\n".join(parts)


def _hours(hours: Sequence[float]) -> str:
    least, most = hours
    return f"{least:.3g} to {most:.3g}" if most > least else f"{most:.3g}"


def _refuse(needs: Sequence[Need], check_machine: bool) -> None:
    """Raise a ValueError that names what is missing, if something is."""
    missing = [need for need in needs if need.enough is False and (check_machine or not need.machine)]
    if missing:
        reasons = "; ".join(f"{need.what} (there is: {need.there}): {need.remedy}" for need in missing)
        raise ValueError(f"Something that this table needs is missing: {reasons}")
