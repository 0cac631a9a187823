"""C³'s explanation of the modality gap as an experiment.

The work behind `scripts/contrastive_gap.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from common.files import write_whole
from common.provenance import run_facts
from evaluation.geometry.gap_experiment import GapExperiment
from evaluation.geometry.plots import plot_optimisation
from evaluation.geometry.sample import rounded
from evaluation.reports.plots import save_plot
from evaluation.table import Column, Table

OPTIONS = ("pairs", "varying", "constant", "offset", "steps", "learning_rate", "seed")
KINDS = {False: "rows of any length", True: "unit rows"}


def contrastive_gap(config: DictConfig) -> dict:
    """Run as `configs/contrastive_gap.yaml` says; returns what `contrastive_gap.json` holds."""
    plain, facts = OmegaConf.to_container(config, resolve=True), run_facts()
    if not plain["temperatures"] or not plain["unit_rows"] or set(plain["unit_rows"]) - set(KINDS):
        raise ValueError(
            f"temperatures={plain['temperatures']} must hold a number at least, and unit_rows={plain['unit_rows']} "
            "false, true or both"
        )
    curves = {
        KINDS[unit]: GapExperiment(**{name: plain[name] for name in OPTIONS}, unit_rows=unit).sweep(
            tqdm(plain["temperatures"], desc=KINDS[unit], unit="temperature")
        )
        for unit in plain["unit_rows"]
    }
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    kept = {
        kind: {str(t): {name: rounded(values) for name, values in found.items()} for t, found in by_temperature.items()}
        for kind, by_temperature in curves.items()
    }
    results = {**facts, "config": plain, "curves": kept}
    write_whole(output_dir / "contrastive_gap.json", json.dumps(results) + "\n")
    save_plot(plot_optimisation(curves), output_dir, "contrastive_gap")
    print(f"{_table(curves).text()}\n\nFigure (PNG, SVG) and contrastive_gap.json: {output_dir}")
    return results


def _table(curves: dict) -> Table:
    columns = [Column("rows"), Column("temperature", 2), Column("loss", 3)]
    columns += [Column("gap, varying", 3), Column("gap, constant", 3)]
    rows = [
        {
            "rows": kind,
            "temperature": temperature,
            "loss": found["loss"][-1],
            "gap, varying": found["varying"][-1],
            "gap, constant": found["constant"][-1],
        }
        for kind, by_temperature in curves.items()
        for temperature, found in by_temperature.items()
    ]
    return Table(rows, columns)
