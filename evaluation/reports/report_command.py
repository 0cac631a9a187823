"""The report of a finished comparison, as one HTML file.

The work behind `scripts/report.py`.
"""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from omegaconf import DictConfig

from evaluation.reports.comparison_report import (
    comparison_examples,
    comparison_tables,
    read_comparison,
    results_file,
    write_comparison_report,
)
from evaluation.reports.example import Example
from evaluation.reports.plot_sweep import plot_sweep
from evaluation.reports.previews import thumbnail
from training.tracking import Tracker, start_tracker


def report(config: DictConfig) -> Path:
    """Write the report, or a sweep's plot, as `configs/report.yaml` says; returns where it is."""
    if config.sweep:
        return plot_sweep(config)
    options = (config.output, config.pictures, config.picture_side, config.decoding)
    path = write_comparison_report(config.comparison, *options)
    print(f"Report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    _track(config)
    return path


def _track(config: DictConfig) -> None:
    tracker = Tracker(**config.tracker)
    if tracker.name == "none":
        return
    result = read_comparison(config.comparison)
    tables = {}
    # Comparisons share these names, so that a dashboard shows the tables of several side by side.
    for name, (_, table) in comparison_tables(result).items():
        cells = [[cell.text for cell in row] for row in table.cells()]
        tables[name] = ([column.name for column in table.header()], cells)
    examples, _ = comparison_examples(result, config.pictures, config.decoding)
    if examples:
        methods = list(examples[0].captions)
        columns = ["image", "id", "references", *(f"{name}{of}" for name in methods for of in ("", " CIDEr"))]
        tables["gallery"] = (columns, [_gallery_row(example, config.picture_side) for example in examples])
    accelerator = Accelerator(log_with=tracker.name)
    start_tracker(accelerator, tracker, results_file(config.comparison).parent, result.config)
    tracker.log_tables(accelerator, tables, step=0)
    accelerator.end_training()


def _gallery_row(example: Example, side: int) -> list:
    cells = [value for method, text in example.captions.items() for value in (text, example.scores.get(method))]
    return [thumbnail(example, side), example.image_id, "\n".join(example.references), *cells]
