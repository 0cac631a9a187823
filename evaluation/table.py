"""Tables of results: the same rows as aligned text, Markdown, LaTeX and HTML (evaluation/reports/html.py)."""

from __future__ import annotations

import re
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tabulate import tabulate

Value = str | float | None | Sequence[float | None]
MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A column: the rows' key, the decimal digits, and which way is better, if its best value is marked."""

    name: str
    digits: int = 1
    better: Literal["higher", "lower"] | None = None


class Cell(NamedTuple):
    """The text of one place in a table, and whether it is marked best."""

    text: str
    best: bool


@dataclass(frozen=True)
class Table:
    """Rows of named values.

    A value is a string, a number, None (shown as a dash), or the numbers of several seeds, shown as mean ± standard
    deviation (of the sample, n - 1).

    Attributes:
        rows: {column name: value}; a missing name is a dash.
        columns: in the order shown. None shows all names in the order met, with one digit and without best marks.
        unranked: values of the first column (method names) whose rows do not compete for best marks, such as upper
            bounds that saw paired data.
    """

    rows: Sequence[Mapping[str, Value]]
    columns: Sequence[Column] | None = None
    unranked: Collection[str] = ()

    def header(self) -> list[Column]:
        """The columns shown."""
        if self.columns is not None:
            return list(self.columns)
        return [Column(name) for name in dict.fromkeys(name for row in self.rows for name in row)]

    def cells(self) -> list[list[Cell]]:
        """The cells, row by row. Values that are equal as printed are all marked best."""
        columns = self.header()
        competing = [row.get(columns[0].name) not in self.unranked for row in self.rows] if columns else []
        by_column = [_column_cells([row.get(c.name) for row in self.rows], competing, c) for c in columns]
        return [list(row) for row in zip(*by_column, strict=True)]

    def numeric(self) -> list[bool]:
        """Which columns have numbers only, and are aligned to the right."""
        values = [[row.get(column.name) for row in self.rows] for column in self.header()]
        return [bool(column) and not any(isinstance(value, str) for value in column) for column in values]

    def text(self) -> str:
        """Aligned plain text; the best of a column carries a star."""
        header, cells = self.header(), self.cells()
        # The star has its own place, so that the digits of a column stay aligned.
        starred = [any(row[n].best for row in cells) for n in range(len(header))]
        body = [[c.text + "* "[not c.best] * star for c, star in zip(row, starred, strict=True)] for row in cells]
        head = [column.name + " " * star for column, star in zip(header, starred, strict=True)]
        return "\n".join(line.rstrip() for line in self._tabulated("simple", head, body).split("\n"))

    def markdown(self) -> str:
        """A Markdown table; the best of a column is bold."""
        body = [[f"**{_markdown(c.text)}**" if c.best else _markdown(c.text) for c in row] for row in self.cells()]
        return self._tabulated("pipe", [_markdown(column.name) for column in self.header()], body)

    def latex(self) -> str:
        """A `tabular` for LaTeX with the package booktabs; the best of a column is bold."""
        from pandas import DataFrame  # an extra that not every command needs

        cells, names = self.cells(), [column.name for column in self.header()]
        bold = DataFrame([["textbf:--rwrap" if cell.best else "" for cell in row] for row in cells], columns=names)
        style: Any = DataFrame([[cell.text for cell in row] for row in cells], columns=names).style.hide(axis="index")
        style = style.format(_latex, escape="latex").format_index(_latex, escape="latex", axis=1)
        alignment = "".join("r" if numeric else "l" for numeric in self.numeric())
        return style.apply(lambda _: bold, axis=None).to_latex(hrules=True, column_format=alignment).strip()

    def _tabulated(self, form: str, head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
        alignment = ["right" if numeric else "left" for numeric in self.numeric()]
        return tabulate(body, head, form, disable_numparse=True, colalign=alignment, preserve_whitespace=True)


def _column_cells(values: Sequence[Value], competing: Sequence[bool], column: Column) -> list[Cell]:
    whole = all(isinstance(value, int) for value in values if value is not None)  # counts: no digits after the point
    digits = 0 if whole else column.digits
    # Values are compared as printed: a difference that the table does not show gives no mark.
    shown = [
        None if (mean := mean_and_deviation(value)[0]) is None else float(f"{mean:.{digits}f}") for value in values
    ]
    ranked = [s for s, competes in zip(shown, competing, strict=True) if competes and s is not None and s == s]
    best = None
    if column.better is not None and len(ranked) > 1:
        best = max(ranked) if column.better == "higher" else min(ranked)
    return [
        Cell(_text(value, digits), competes and s is not None and s == best)
        for value, s, competes in zip(values, shown, competing, strict=True)
    ]


def mean_and_deviation(value: Value) -> tuple[float | None, float | None]:
    """Mean and standard deviation (of the sample) of a value's numbers.

    Both are None without numbers or if one of them is None; the deviation is None for a single number, too.
    """
    numbers = _numbers(value)
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return (statistics.fmean(numbers) if numbers else None), deviation


def _numbers(value: Value) -> list[float]:
    """The numbers of a value; none if one of them is None."""
    if value is None or isinstance(value, str):
        return []
    numbers = value if isinstance(value, Sequence) else [value]
    return [] if None in numbers else [float(number) for number in numbers if number is not None]


def _text(value: Value, digits: int) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    mean, deviation = mean_and_deviation(value)
    if mean is None:
        return MISSING
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


_LATEX = str.maketrans(
    {"±": r"$\pm$", "³": r"\textsuperscript{3}", "→": r"$\to$", "<": "$<$", ">": "$>$", MISSING: "--"}
)


def _latex(escaped: str) -> str:
    """Replace what pandas' escaping leaves: characters that old fonts lack, and minus signs."""
    return re.sub(r"(?<![\w.-])-(?=[\d.])", "$-$", escaped.translate(_LATEX))
