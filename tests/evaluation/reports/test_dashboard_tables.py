"""Tables for dashboards: numbers in place of "67.9 ± 3.5"."""

from __future__ import annotations

import pytest

from evaluation.captions.result import EvaluationResult
from evaluation.embeddings.retrieval import Gap
from evaluation.reports.comparison_result import CiderInterval, ComparisonResult
from evaluation.reports.dashboard_tables import (
    comparison_dashboard,
    comparison_numbers,
    number_table,
    sweep_dashboard,
)
from evaluation.reports.method_result import MethodResult
from evaluation.reports.statistics import Interval, PairedComparison
from evaluation.table import Column, Table


def test_seeds_become_a_mean_and_a_deviation():
    rows = [{"method": "c1", "CIDEr": [67.0, 69.0], "tokens": 3}, {"method": "c3", "CIDEr": [70.0]}]
    rows.append({"method": "broken", "CIDEr": [None, 1.0], "class": "text-only"})
    columns, cells = number_table(Table(rows, [Column("method"), Column("CIDEr"), Column("tokens"), Column("class")]))
    assert columns == ["method", "CIDEr", "CIDEr sd", "tokens", "class"]
    assert cells[0] == ["c1", 68.0, pytest.approx(2**0.5), 3.0, None]
    assert cells[1] == ["c3", 70.0, None, None, None]
    assert cells[2] == ["broken", None, None, None, "text-only"]


def test_a_column_with_words_has_words_alone():
    columns, cells = number_table(Table([{"value": 3.5}, {"value": "1,024"}, {"value": None}]))
    assert columns == ["value"] and cells == [["3.5"], ["1,024"], [None]]


@pytest.fixture
def result():
    gap = Gap(0.5, 0.1, 0.2, 0.6)
    runs = [
        MethodResult(result=EvaluationResult(metrics={"CIDEr": cider}, gap=gap), method=method, seed=seed,
                     decoding_name="greedy", total_seconds=9.0)
        for method, ciders in {"c1": (10.0, 12.0), "c3": (40.0, 41.0)}.items()
        for seed, cider in enumerate(ciders)
    ]  # fmt: skip
    compared = PairedComparison(29.5, 28.0, 31.0, 0.001, [30.0, 29.0], None)
    interval = CiderInterval("c3", "greedy", Interval(40.5, 39.0, 42.0), "c1", compared)
    return ComparisonResult(runs=runs, split="test", intervals=[interval])


def test_a_comparison_has_its_runs_and_intervals_as_numbers(result):
    tables = comparison_dashboard(result)
    columns, rows = tables["results"]
    assert [row[: columns.index("CIDEr sd") + 1] for row in rows][1] == ["c3", 40.5, pytest.approx(0.5**0.5)]
    columns, rows = tables["runs"]
    assert rows[3][:4] == ["c3", 1, "greedy", 41.0] and rows[3][columns.index("paired_cosine")] == 0.5
    columns, [row] = tables["intervals"]
    assert dict(zip(columns, row, strict=True)) == {
        "method": "c3", "decoding": "greedy", "CIDEr": 40.5, "low": 39.0, "high": 42.0, "baseline": "c1",
        "difference": 29.5, "difference low": 28.0, "difference high": 31.0, "p over images": 0.001,
        "p over seeds": None,
    }  # fmt: skip
    assert comparison_numbers(result) == {"CIDEr greedy/c1": 11.0, "CIDEr greedy/c3": 40.5}


def test_a_sweep_has_a_row_per_point():
    points = [{"options": {"loop.steps": 5, "name": "x"}, "values": [1.0, 3.0], "evaluations": ["a", "b"]}]
    assert sweep_dashboard(points, "CIDEr") == (
        ["loop.steps", "name", "CIDEr", "CIDEr sd", "seeds"],
        [[5, "x", 2.0, pytest.approx(2**0.5), 2]],
    )
