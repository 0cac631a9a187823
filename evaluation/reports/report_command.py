"""The report of a finished comparison, as one HTML file; or a figure of a sweep, or of several painters.

The work behind `scripts/report.py`.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from PIL import Image

from evaluation.reading import read_object
from evaluation.reports.comparison_report import (
    comparison_examples,
    read_comparison,
    results_file,
    write_comparison_report,
)
from evaluation.reports.dashboard_tables import comparison_dashboard, comparison_numbers, sweep_dashboard
from evaluation.reports.example import Example
from evaluation.reports.plot_painters import draw_painters
from evaluation.reports.plot_sweep import SWEEP_JSON, SWEEP_PNG, plot_sweep
from evaluation.reports.previews import thumbnail
from training.tracking import Tracker, send_results


def report(config: DictConfig) -> Path:
    """Write the report, or a plot of a sweep or of painters, as `configs/report.yaml` says; returns where it is."""
    tracker = Tracker(**config.tracker)
    if config.painters:
        if config.sweep:
            raise ValueError(
                f"sweep={list(config.sweep)} and painters={list(config.painters)} are two figures: give one"
            )
        if tracker.name != "none":
            raise ValueError(f"tracker={tracker.name} cannot show the figure of painters=...: leave tracker out")
        return draw_painters(config)
    if config.sweep:
        folder = plot_sweep(config)
        _track_sweep(tracker, folder)
        return folder
    options = (config.output, config.pictures, config.picture_side, config.shown_decoding)
    path = write_comparison_report(config.comparison, *options)
    print(f"Report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    _track(tracker, config)
    return path


def _track(tracker: Tracker, config: DictConfig) -> None:
    if tracker.name == "none":
        return
    result = read_comparison(config.comparison)
    tables = comparison_dashboard(result)
    examples, _ = comparison_examples(result, config.pictures, config.shown_decoding)
    if examples:
        methods = list(examples[0].captions)
        columns = ["image", "id", "references", *(f"{name}{of}" for name in methods for of in ("", " CIDEr"))]
        tables["gallery"] = (columns, [_gallery_row(example, config.picture_side) for example in examples])
    folder = results_file(config.comparison).parent
    send_results(tracker, folder, result.config, "comparison", comparison_numbers(result), tables)


def _track_sweep(tracker: Tracker, folder: Path) -> None:
    if tracker.name == "none":
        return
    sweep = read_object(folder / SWEEP_JSON, "sweep")
    table = sweep_dashboard(sweep["points"], sweep["metric"])
    with Image.open(folder / SWEEP_PNG) as picture:
        picture.load()
    options = {"metric": sweep["metric"], "options": sweep["options"]}
    send_results(tracker, folder, options, "sweep", tables={"sweep": table}, pictures={"sweep_figure": picture})


def _gallery_row(example: Example, side: int) -> list:
    cells = [value for method, text in example.captions.items() for value in (text, example.scores.get(method))]
    return [thumbnail(example, side), example.image_id, "\n".join(example.references), *cells]
