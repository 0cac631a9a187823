"""Tables of results: the same rows as aligned text for a terminal, as Markdown, as LaTeX and
(evaluation/reports/html.py) as HTML."""

from __future__ import annotations

import re
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Value = str | float | None | Sequence[float | None]
MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A column: the rows' key, the digits printed after the point, and which way is better, if its best is marked."""

    name: str
    digits: int = 1
    better: Literal["higher", "lower"] | None = None


class Cell(NamedTuple):
    """What a table shows in one place."""

    text: str
    best: bool
    numeric: bool


@dataclass(frozen=True)
class Table:
    """Rows of named values: a string, a number, None (shown as a dash), or the numbers of several seeds, shown as
    mean ± standard deviation (of the sample, n - 1).

    rows: {column name: value}; a name that a row lacks is a dash. columns: in the order shown; None shows all names in
        the order met, one digit each, and marks no best. unranked: values in the first column (method names) whose rows
        do not compete for the best mark, such as upper bounds that saw paired data.
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
        """What is shown, row by row. Equal values, as printed, are all marked best."""
        columns = self.header()
        competing = [row.get(columns[0].name) not in self.unranked for row in self.rows] if columns else []
        by_column = [_column_cells([row.get(c.name) for row in self.rows], competing, c) for c in columns]
        return [list(row) for row in zip(*by_column, strict=True)]

    def text(self) -> str:
        """Aligned plain text; the best of a column carries a star."""
        header, cells = self.header(), self.cells()
        # The star has a place of its own, so that the digits of a column stay in line.
        starred = [any(row[n].best for row in cells) for n in range(len(header))]
        body = [
            [c.text + ("*" if c.best else " " if star else "") for c, star in zip(row, starred, strict=True)]
            for row in cells
        ]
        head = [c.name + (" " if star else "") for c, star in zip(header, starred, strict=True)]
        widths = [max(len(line[n]) for line in [head, *body]) for n in range(len(header))]
        right = _right_aligned(cells, len(header))
        lines = [
            "  ".join(
                text.rjust(width) if r else text.ljust(width)
                for text, width, r in zip(line, widths, right, strict=True)
            ).rstrip()
            for line in [head, ["-" * width for width in widths], *body]
        ]
        return "\n".join(lines)

    def markdown(self) -> str:
        """A Markdown table; the best of a column is bold."""
        header, cells = self.header(), self.cells()
        right = _right_aligned(cells, len(header))
        lines = [[_markdown(c.name) for c in header], ["---:" if r else "---" for r in right]]
        lines += [[f"**{_markdown(c.text)}**" if c.best else _markdown(c.text) for c in row] for row in cells]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def latex(self) -> str:
        """A `tabular` for LaTeX with the package booktabs; the best of a column is bold."""
        header, cells = self.header(), self.cells()
        columns = "".join("r" if right else "l" for right in _right_aligned(cells, len(header)))
        lines = [[_latex(column.name) for column in header]]
        lines += [[f"\\textbf{{{_latex(c.text)}}}" if c.best else _latex(c.text) for c in row] for row in cells]
        head, *body = [f"{' & '.join(line)} \\\\" for line in lines]
        rules = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", head, "\\midrule", *body, "\\bottomrule"]
        return "\n".join([*rules, "\\end{tabular}"])


def _column_cells(values: Sequence[Value], competing: Sequence[bool], column: Column) -> list[Cell]:
    means = [_mean(value) for value in values]
    whole = all(isinstance(value, int) for value in values if value is not None)  # counts: no digits after the point
    digits = 0 if whole else column.digits
    # Compared as printed: a difference that the table does not show is no reason for a mark.
    shown = [None if mean is None else float(f"{mean:.{digits}f}") for mean in means]
    ranked = [s for s, competes in zip(shown, competing, strict=True) if competes and s is not None and s == s]
    best = None
    if column.better is not None and len(ranked) > 1:
        best = max(ranked) if column.better == "higher" else min(ranked)
    return [
        Cell(_text(value, digits), competes and s is not None and s == best, s is not None or value is None)
        for value, s, competes in zip(values, shown, competing, strict=True)
    ]


def _mean(value: Value) -> float | None:
    """The number that stands for a value, or None when there is none (a seed without a value leaves no honest mean)."""
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, Sequence):
        return None if not value or any(v is None for v in value) else statistics.fmean(value)
    return float(value)


def _text(value: Value, digits: int) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    mean = _mean(value)
    if mean is None:
        return MISSING
    if isinstance(value, Sequence) and len(value) > 1:
        return f"{mean:.{digits}f} ± {statistics.stdev(value):.{digits}f}"
    return f"{mean:.{digits}f}"


def _right_aligned(cells: Sequence[Sequence[Cell]], columns: int) -> list[bool]:
    """Columns of numbers, whose gaps (dashes) are numbers too."""
    by_column = [[row[n] for row in cells] for n in range(columns)]
    return [
        any(cell.numeric for cell in column) and all(cell.numeric or cell.text == MISSING for cell in column)
        for column in by_column
    ]


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "³": r"\textsuperscript{3}",
    "→": r"$\to$",
    "<": "$<$",
    ">": "$>$",
    "–": "--",
}


def _latex(text: str) -> str:
    escaped = re.sub(r"[\\~^±³→<>–]|[&%$#_{}]", lambda found: _LATEX.get(found[0], f"\\{found[0]}"), text)
    return re.sub(r"(?<![\w.-])-(?=[\d.])", "$-$", escaped)
