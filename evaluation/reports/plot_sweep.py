"""A figure of finished evaluations against the one or two options in which they differ.

The work behind `scripts/report.py sweep=...`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path

from omegaconf import DictConfig

from common.files import write_json, write_whole
from common.provenance import run_facts
from evaluation.reports.plots import footnote, save_plot
from evaluation.reports.sweep_plots import plot_heat_map, plot_lines
from evaluation.reports.sweeps import Evaluation, read_evaluation, sweep_points, sweep_runs, sweep_table, swept_options

SWEEP_JSON, SWEEP_PNG = "sweep.json", "sweep.png"


def plot_sweep(config: DictConfig) -> Path:
    """Plot `sweep` of `configs/report.yaml`; returns the folder of its files."""
    facts = run_facts()
    matching = sorted({folder for pattern in config.sweep for folder in glob(pattern) if Path(folder).is_dir()})
    folders = [folder for folder in matching if (Path(folder) / "scores.json").is_file()]
    if not folders:
        raise FileNotFoundError(
            f"sweep={list(config.sweep)} matches no finished evaluation: run scripts/eval_coco.py first"
        )
    if unfinished := [folder for folder in matching if folder not in folders]:
        print(f"Left out, since they have no scores.json: {', '.join(unfinished)}")
    evaluations = [read_evaluation(folder) for folder in folders]
    options = swept_options(evaluations, config.options)
    short = {option: option.removeprefix("alignment.") for option in options}
    runs = sweep_runs(evaluations, options, config.metric)
    points = sweep_points(runs, options, config.metric)
    shown = runs.rename(columns=short)
    first, *other = short.values()
    heat_map = len(options) == 2 and not config.lines
    if heat_map:
        figure = plot_heat_map(
            shown.pivot_table(config.metric, index=first, columns=other, observed=True), config.metric
        )
    else:
        names = {"lines": [f"{name} {value}" for name in other for value in shown[name]]} if other else {}
        figure = plot_lines(shown.assign(**names), first, config.metric, *names)
    footnote(figure, _origin(evaluations, points, spread=not heat_map))
    output_dir = Path(config.output or "outputs/sweeps/sweep")
    save_plot(figure, output_dir, "sweep")
    results = {**facts, "metric": config.metric, "options": options, "points": points}
    write_json(output_dir / SWEEP_JSON, results)
    table = sweep_table(points, config.metric)
    write_whole(output_dir / "sweep.md", table.markdown() + "\n")
    print(f"{table.text()}\n\nFigure (PNG, SVG), sweep.md and sweep.json: {output_dir}")
    return output_dir


def _origin(evaluations: Sequence[Evaluation], points: Sequence[Mapping], spread: bool) -> str:
    """The data set and split, if all evaluations share them, and the number of seeds, with a `spread` or without."""
    by_key = {key: {e.options.get(key) for e in evaluations} for key in ("evaluated_on", "split")}
    same = {key: values.pop() for key, values in by_key.items() if len(values) == 1}
    words = [f"split {value}" if key == "split" else str(value) for key, value in same.items() if value is not None]
    seeds = sorted({len(point["values"]) for point in points})
    number = "–".join(map(str, dict.fromkeys([seeds[0], seeds[-1]])))
    averaged = f"mean of {number} seeds" + (" ± standard deviation" if spread else "")
    return ", ".join([*words, "one seed" if seeds == [1] else averaged])
