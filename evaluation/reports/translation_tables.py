"""The tables of translations between the two modalities, one for each direction."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.embeddings.retrieval import TranslationMetrics
from evaluation.reports.translation_result import TranslationResult
from evaluation.table import Column, Table

COLUMNS = [
    Column("rows"),
    Column("similarity", 4, "higher"),
    *(Column(f"R@{k} %", 1, "higher") for k in (1, 5, 10)),
    Column("median rank", 1, "lower"),
]


def table_row(metrics: TranslationMetrics) -> dict[str, float]:
    """One direction's metrics under the tables' column names."""
    recalls = {1: metrics.recall_at_1, 5: metrics.recall_at_5, 10: metrics.recall_at_10}
    percent = {f"R@{k} %": 100 * recall for k, recall in recalls.items()}
    return {"similarity": metrics.similarity, **percent, "median rank": metrics.median_rank}


def translation_table(runs: Sequence[TranslationResult], direction: str) -> Table:
    """One row per translation, the seeds' values side by side."""
    rows = []
    for name in dict.fromkeys(run.row for run in runs):
        seeds = [table_row(run.metrics[direction]) for run in runs if run.row == name and direction in run.metrics]
        columns = seeds[0] if seeds else ()
        rows.append({"rows": name, **{column: [seed[column] for seed in seeds] for column in columns}})
    return Table(rows, COLUMNS)
