"""A Weights & Biases report of a project that commands wrote with `tracker=wandb`.

The work behind `scripts/wandb_report.py`. The report's parts take runs by their kind (`training.tracking.Kind`), which
is W&B's job type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import wandb
import wandb_workspaces.reports.v2
from omegaconf import DictConfig

from training.tracking import has_wandb_key

wr: Any = wandb_workspaces.reports.v2  # its names are not marked as exported
LOSSES = ("text_loss", "paired_validation_loss", "validation_loss")
COMPARISON_TABLES = ("results", "intervals", "runs", "gallery")
WIDE, HALF = 24, 12  # of W&B's grid


def make_report(config: DictConfig) -> str:
    """Save the report that `configs/wandb_report.yaml` asks for; returns its address.

    Raises:
        ValueError: no account is known, or it has no such project.
    """
    if not has_wandb_key():
        raise ValueError("W&B's reports are on its server, and no key is set: run wandb login, or set WANDB_API_KEY")
    entity = config.entity
    try:
        entity = entity or wandb.Api().default_entity or ""
        report = report_layout(config.project, entity, config.title, config.metric, config.options)
        report.save(draft=config.draft)
    except (wandb.Error, ValueError) as error:
        raise ValueError(f"project={config.project} of entity={entity} gave no report: {error}") from error
    print(f"Report: {report.url}")
    return report.url


def report_layout(project: str, entity: str, title: str, metric: str, options: Sequence[str]) -> Any:
    """The report, not saved yet: curves, sample captions over time, evaluations with a sweep, comparisons.

    Args:
        entity: of the project; with "" nothing is asked of W&B's server.
        metric: what parallel coordinates end in, such as CIDEr.
        options: what they begin with, by dotted names: `alignment.noise_std`, `loop.learning_rate`.
    """

    def grid(kind: str, panels: list[Any]) -> Any:
        runs = wr.Runset(entity=entity, project=project, name=f"{kind} runs", filters=f"JobType = '{kind}'")
        return wr.PanelGrid(runsets=[runs], panels=panels)

    blocks = [
        wr.H1("Training"),
        wr.P("Loss per step, and the validation loss that may choose the weights (loop.keep)."),
        grid("training", _curves()),
        wr.H1("What the captioner says while it learns"),
        wr.P("Captions of the same held-out texts at each evaluation. Sort by reference to follow one of them."),
        grid("training", [_table("samples")]),
        wr.H1("Evaluations"),
        wr.P(f"Each line is an evaluation: the options that differ, and {metric}."),
        grid("evaluation", [_parallel_coordinates(metric, options), _bars(metric), _table("metrics", 24)]),
        wr.H1("Sweeps"),
        grid("sweep", [wr.MediaBrowser(media_keys=["sweep_figure"], layout=_place(0, 0, WIDE)), _table("sweep", 12)]),
        wr.H1("Comparisons"),
        wr.P("Columns sort as numbers; sd is the standard deviation over seeds."),
        grid("comparison", [_table(name, 16 * n) for n, name in enumerate(COMPARISON_TABLES)]),
    ]
    return wr.Report(project=project, entity=entity, title=title, blocks=blocks, width="fluid")


def _curves() -> list[Any]:
    lines = {"Training loss": ["loss"], "Validation loss": list(LOSSES)}
    lines |= {"Learning rate": ["learning_rate"], "Samples per second": ["samples_per_second"]}
    return [
        wr.LinePlot(title=title, x="Step", y=names, layout=_place(HALF * (n % 2), 8 * (n // 2), HALF, 8))
        for n, (title, names) in enumerate(lines.items())
    ]


def _parallel_coordinates(metric: str, options: Sequence[str]) -> Any:
    """Evaluations have their own options, and those of their captioner's training after `training.`."""
    axes = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name), display_name=name) for name in options]
    axes.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(metric), display_name=metric))
    return wr.ParallelCoordinatesPlot(title="Sweep", columns=axes, layout=_place(0, 0, WIDE, 12))


def _bars(metric: str) -> Any:
    return wr.BarPlot(title=metric, metrics=[metric], layout=_place(0, 12, HALF, 12))


def _table(name: str, y: int = 0) -> Any:
    return wr.WeavePanelSummaryTable(table_name=name, layout=_place(0, y, WIDE, 16))


def _place(x: int, y: int, width: int, height: int = 12) -> Any:
    return wr.Layout(x=x, y=y, w=width, h=height)
