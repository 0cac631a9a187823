"""C³'s explanation of the modality gap as an experiment.

The work behind `scripts/contrastive_gap.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig
from tqdm import tqdm

from common.files import write_whole
from common.plain import plain
from common.provenance import run_facts
from evaluation.geometry.gap_experiment import GapExperiment
from evaluation.geometry.plots import plot_optimization
from evaluation.geometry.sample import rounded
from evaluation.reports.plots import save_plot
from evaluation.table import Column, Table

OPTIONS = ("pairs", "varying", "constant", "offset", "steps", "learning_rate", "seed")
KINDS = {False: "rows of any length", True: "unit rows"}


def contrastive_gap(config: DictConfig) -> dict:
    """Run as `configs/contrastive_gap.yaml` says; returns what `contrastive_gap.json` holds."""
    options, facts = plain(config), run_facts()
    if not options["temperatures"] or not options["unit_rows"] or set(options["unit_rows"]) - set(KINDS):
        raise ValueError(
            f"temperatures={options['temperatures']} must have at least one number, and "
            f"unit_rows={options['unit_rows']} must be false, true or both"
        )
    curves = {}
    for unit in options["unit_rows"]:
        experiment = GapExperiment(**{name: options[name] for name in OPTIONS}, unit_rows=unit)
        temperatures = tqdm(options["temperatures"], desc=KINDS[unit], unit="temperature")
        curves[KINDS[unit]] = {temperature: experiment.run(temperature) for temperature in temperatures}
    output_dir = Path(config.output_dir)
    kept = {
        kind: {str(t): {name: rounded(values) for name, values in run.items()} for t, run in by_temperature.items()}
        for kind, by_temperature in curves.items()
    }
    results = {**facts, "config": options, "curves": kept}
    write_whole(output_dir / "contrastive_gap.json", json.dumps(results) + "\n")
    save_plot(plot_optimization(curves), output_dir, "contrastive_gap")
    print(f"{_table(curves).text()}\n\nFigure (PNG, SVG) and contrastive_gap.json: {output_dir}")
    return results


def _table(curves: dict) -> Table:
    columns = [Column("rows"), Column("temperature", 2), Column("loss", 3)]
    columns += [Column("gap, varying", 3), Column("gap, constant", 3)]
    rows = [
        {
            "rows": kind,
            "temperature": temperature,
            "loss": run["loss"][-1],
            "gap, varying": run["varying"][-1],
            "gap, constant": run["constant"][-1],
        }
        for kind, by_temperature in curves.items()
        for temperature, run in by_temperature.items()
    ]
    return Table(rows, columns)
