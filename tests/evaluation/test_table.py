"""Tables: alignment, means over seeds, and which value is marked as the best."""

from __future__ import annotations

import pytest

from evaluation.table import Column, Table

ROWS = [
    {"method": "C1", "CIDEr": [25.0, 27.0], "cosine": 0.2149, "seconds": 12.4},
    {"method": "bridge", "CIDEr": [45.0, 44.0, 46.0], "cosine": 0.2151, "seconds": None},
    {"method": "paired", "CIDEr": [67.0], "cosine": 0.5, "seconds": 9},
]
COLUMNS = [Column("method"), Column("CIDEr", 1, "higher"), Column("cosine", 2, "higher"), Column("seconds", 0, "lower")]


def test_text_is_aligned_and_marks_the_best():
    lines = Table(ROWS, COLUMNS, unranked=["paired"]).text().splitlines()
    assert lines == [
        "method         CIDEr     cosine     seconds",
        "--------  -----------  ---------  ---------",
        "C1        26.0 ± 1.4       0.21          12",
        "bridge    45.0 ± 1.0*      0.22*          –",
        "paired          67.0       0.50           9",
    ]


def test_markdown():
    assert Table(ROWS, COLUMNS).markdown().splitlines() == [
        "| method   |      CIDEr |   cosine |   seconds |",
        "|:---------|-----------:|---------:|----------:|",
        "| C1       | 26.0 ± 1.4 |     0.21 |        12 |",
        "| bridge   | 45.0 ± 1.0 |     0.22 |         – |",
        "| paired   |   **67.0** | **0.50** |     **9** |",
    ]


def test_what_prints_the_same_is_equally_good():
    cells = Table([{"m": "a", "x": 0.211}, {"m": "b", "x": 0.209}], [Column("m"), Column("x", 2, "higher")]).cells()
    assert [row[1].best for row in cells] == [True, True]


def test_a_seed_without_a_value_leaves_no_mean_and_nan_is_never_the_best():
    columns = [Column("m"), Column("x", 1, "lower")]
    rows = [{"m": "a", "x": [1.0, None]}, {"m": "b", "x": float("nan")}, {"m": "c", "x": 3.0}, {"m": "d", "x": 4.0}]
    assert [(row[1].text, row[1].best) for row in Table(rows, columns).cells()] == [
        ("–", False),
        ("nan", False),
        ("3.0", True),
        ("4.0", False),
    ]


def test_columns_default_to_all_names_and_whole_numbers_stay_whole():
    table = Table([{"stage": "encode", "rows": 100}, {"stage": "train", "note": "a\nb|c"}])
    assert [column.name for column in table.header()] == ["stage", "rows", "note"]
    assert [[cell.text for cell in row] for row in table.cells()] == [["encode", "100", "–"], ["train", "–", "a b|c"]]
    assert r"a b\|c" in table.markdown()


@pytest.mark.parametrize("columns", [None, COLUMNS])
def test_no_rows(columns):
    assert Table([], columns).cells() == []
    assert isinstance(Table([], columns).text(), str) and isinstance(Table([], columns).markdown(), str)
