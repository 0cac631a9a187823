"""A comparison's or a sweep's tables for dashboards: one number a cell, so that columns can be sorted and plotted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evaluation.reports.comparison_report import comparison_tables
from evaluation.reports.comparison_result import CiderInterval, ComparisonResult
from evaluation.reports.comparison_tables import results_table
from evaluation.reports.method_result import MethodResult
from evaluation.table import Table, mean_and_deviation

DashboardTable = tuple[list[str], list[list[Any]]]  # columns and rows


def comparison_dashboard(result: ComparisonResult) -> dict[str, DashboardTable]:
    """{name: table} of a comparison. All comparisons have the same names, so that a dashboard shows several together.

    `results` has a row per method, `runs` one per method, seed and decoding, `intervals` what the report writes as
    `+9.2 [+7.1, +11.3]`.
    """
    tables = {name: number_table(table) for name, (_, table) in comparison_tables(result).items()}
    if result.runs:
        tables |= {"results": number_table(results_table(result.runs)), "runs": _rows(map(_run, result.runs))}
    if result.intervals:
        tables["intervals"] = _rows(map(_interval, result.intervals))
    return tables


def comparison_numbers(result: ComparisonResult) -> dict[str, float]:
    """{"CIDEr greedy/c3": mean over seeds}, for a chart of the methods."""
    ciders: dict[str, list[float | None]] = {}
    for run in result.runs:
        ciders.setdefault(f"CIDEr {run.decoding_name}/{run.method}", []).append(run.cider)
    means = {name: mean_and_deviation(values)[0] for name, values in ciders.items()}
    return {name: mean for name, mean in means.items() if mean is not None}


def sweep_dashboard(points: Sequence[Mapping[str, Any]], metric: str) -> DashboardTable:
    """One row per point of a sweep (`sweep_points`): its options, the metric over seeds, and their number."""
    rows = []
    for point in points:
        mean, deviation = mean_and_deviation(point["values"])
        rows.append({**point["options"], metric: mean, f"{metric} sd": deviation, "seeds": len(point["values"])})
    return _rows(rows)


def number_table(table: Table) -> DashboardTable:
    """A table with numbers as numbers: values of several seeds have a column of means and one of standard deviations.

    A column that has words in some rows and numbers in others is one of words.
    """
    rows: list[dict[str, Any]] = [{} for _ in table.rows]
    for column in table.header():
        values = [row.get(column.name) for row in table.rows]
        seeds = any(isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 1 for value in values)
        words = any(isinstance(value, str) for value in values)
        for row, value in zip(rows, values, strict=True):
            mean, deviation = mean_and_deviation(value)
            if words:
                row[column.name] = value if value is None or isinstance(value, str) else f"{mean}"
            else:
                row[column.name] = mean
            if seeds and not words:
                row[f"{column.name} sd"] = deviation
    return _rows(rows)


def _run(run: MethodResult) -> dict[str, Any]:
    row: dict[str, Any] = {"method": run.method, "seed": run.seed, "decoding": run.decoding_name}
    row |= run.result.metrics
    row |= asdict(run.result.gap) if run.result.gap else {}
    return row | {"seconds": run.total_seconds, "captions/s": run.captions_per_second}


def _interval(entry: CiderInterval) -> dict[str, Any]:
    row: dict[str, Any] = {"method": entry.method, "decoding": entry.decoding_name, "CIDEr": entry.cider.value}
    row |= {"low": entry.cider.low, "high": entry.cider.high}
    if compared := entry.comparison:
        row |= {"baseline": entry.baseline, "difference": compared.difference}
        row |= {"difference low": compared.low, "difference high": compared.high}
        row |= {"p over images": compared.p_images, "p over seeds": compared.p_seeds}
    return row


def _rows(rows: Any) -> DashboardTable:
    """Columns of all names in the order met, and the rows, with None where a row has no such name."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, [[row.get(name) for name in columns] for row in rows]
