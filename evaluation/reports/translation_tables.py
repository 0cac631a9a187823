"""The tables of translations between the two modalities, one for each direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluation.table import Column, Table

COLUMNS = [
    Column("rows"),
    Column("similarity", 4, "higher"),
    *(Column(f"R@{k} %", 1, "higher") for k in (1, 5, 10)),
    Column("median rank", 1, "lower"),
]


def table_row(figures: Mapping) -> dict:
    """One direction's metrics of `translation_metrics` under the tables' column names."""
    recalls = {f"R@{k} %": 100 * figures[f"recall_at_{k}"] for k in (1, 5, 10)}
    return {"similarity": figures["similarity"], **recalls, "median rank": figures["median_rank"]}


def translation_table(runs: Sequence[Mapping], direction: str) -> Table:
    """One row per translation, the seeds' values side by side.

    Args:
        runs: of a comparison's `results.json`: the name of the `row`, and metrics under each direction.
    """
    rows = []
    for name in dict.fromkeys(run["row"] for run in runs):
        seeds = [table_row(run[direction]) for run in runs if run["row"] == name and direction in run]
        columns = seeds[0] if seeds else ()
        rows.append({"rows": name, **{column: [seed[column] for seed in seeds] for column in columns}})
    return Table(rows, COLUMNS)
