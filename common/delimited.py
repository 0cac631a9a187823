"""Files of columns under a header: CSV, TSV and the like of Flickr30k's `image_name| comment_number| comment`."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from common.text_files import first_line, numbered_lines, raw_lines

COMMA, SEMICOLON, TAB, BAR = ",", ";", "\t", "|"
QUOTING = (COMMA, SEMICOLON)
NAMES = {COMMA: "comma", SEMICOLON: "semicolon", TAB: "tab", BAR: "|"}
PICTURE_NAME = re.compile(r"\.(?:jpe?g|png|webp|bmp|gif|tiff?)\b", re.IGNORECASE)
QUOTED = re.compile(r'"(?:[^"]|"")*"')
CSV_FIELDS = {delimiter: rf'(?:{QUOTED.pattern}|[^"{delimiter}\r\n]*)' for delimiter in QUOTING}


def _well_quoted(blanks: str) -> dict[str, re.Pattern]:
    """What a row of CSV looks like, with these `blanks` before its fields."""
    fields = {delimiter: blanks + field for delimiter, field in CSV_FIELDS.items()}
    return {d: re.compile(rf"{field}(?:{d}{field})*(?:\r\n|\r|\n)?") for d, field in fields.items()}


WELL_QUOTED = {True: _well_quoted(""), False: _well_quoted(" *")}  # {whether cells are exact: {delimiter: pattern}}


def table_rows(path: Path, known: Collection[str], exact: bool = False) -> Iterator[tuple[str, dict[str, str]]]:
    """(`line n`, {column: text}) of each row; columns without a name are left out.

    In CSV (commas or semicolons) quotes are as RFC 4180 has them: a field that holds one is quoted. Elsewhere they are
    text, but for columns that are quoted in every row and fields with doubled quotes, which are what csv.writer and
    pandas make of them.

    Args:
        known: names of columns that tell which delimiter it is, whatever their case.
        exact: keep white space around fields (but around `|`), quotes in TSV, and rows of empty fields, so that what
            was written comes back; and take captions over several lines unless one of their lines looks like a row.

    Raises:
        ValueError: JSON; a column twice; rows that do not have the header's fields; quotes that do not match; quoted
            fields over several lines of which one could be a row, since then a quote may have swallowed it.
    """
    line = first_line(path)
    if line.lstrip().startswith(("{", "[")):
        raise ValueError(f"{path} holds JSON, no table: call it .jsonl (one object per line) or .json")
    delimiter = find_delimiter(line, known, TAB if path.name.lower().removesuffix(".gz").endswith(".tsv") else COMMA)
    header = _cells(line, delimiter)
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise ValueError(f"{path}: its header has two columns {twice!r}: rename one")
    reader = _quoting_rows if delimiter in QUOTING else _plain_rows
    rows = reader(path, delimiter, len(header), exact)
    next(rows, None)  # the header
    for number, cells in rows:
        if len(cells) != len(header):
            raise ValueError(_wrong_count(path, number, cells, header, delimiter))
        if exact or any(cells):  # a line of delimiters alone
            yield f"line {number}", {name: cell for name, cell in zip(header, cells, strict=True) if name}


def find_delimiter(header: str, known: Collection[str], usual: str = COMMA) -> str:
    """The delimiter with which the header has one of the `known` names; `usual` when there is none."""
    known = {name.casefold() for name in known}
    for delimiter in sorted(NAMES, key=lambda delimiter: delimiter != usual):
        cells = _cells(header.casefold(), delimiter)
        if len(cells) > 1 and set(cells) & known:
            return delimiter
    return usual


def _cells(line: str, delimiter: str) -> list[str]:
    """The fields of a header, without blanks and quotes around them."""
    if delimiter in QUOTING:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        return [cell.strip() for cell in cells]
    return [_unquoted(cell.strip()) for cell in line.split(delimiter)]


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"').strip() if QUOTED.fullmatch(cell) else cell


def _wrong_count(path: Path, number: int, cells: list[str], header: list[str], delimiter: str) -> str:
    columns = ", ".join(header)
    counts = f"{path}, line {number} has {len(cells)} fields, its header {len(header)} ({columns[:200]})"
    if len(cells) < len(header):
        return f"{counts}: the line is cut, or lacks a field or a {NAMES[delimiter]}"
    if delimiter in QUOTING:
        return f'{counts}: quote the caption, as in photo.jpg{delimiter}"a man{delimiter} sitting"'
    return f"{counts}: a field must not hold a {NAMES[delimiter]}"


def _quoting_rows(path: Path, delimiter: str, columns: int, exact: bool) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, fields) of CSV, strictly."""
    row: list[str] = []  # its lines

    def lines() -> Iterator[str]:
        for _, line in raw_lines(path):
            row.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True, skipinitialspace=not exact)
    number = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = f"line {number} is" if reader.line_num <= number else f"lines {number} to {reader.line_num} are"
            raise ValueError(
                f"{path}, {where} no CSV: {error}. A quote that begins a field must end it, and one within a "
                'quoted field is written twice: "say ""stop"""'
            ) from error
        text = "".join(row)
        if '"' in text and not WELL_QUOTED[exact][delimiter].fullmatch(text):
            raise ValueError(
                f"{path}, line {number} has a quote in a field that is not quoted itself: quote the field and write "
                'the quote twice, as in "a 12"" pizza"'
            )
        row.clear()
        for column, cell in enumerate(cells):
            if (line := _swallowed_row(cell, column, columns, delimiter, exact)) is not None:
                raise ValueError(
                    f"{path}, line {number}: a quoted field goes over several lines, of which one could be a row of "
                    f"its own ({line.strip()[:60]!r}): close the quote, or put the caption on one line"
                )
        if text.strip():
            yield number, cells if exact else [cell.strip() for cell in cells]
        number = reader.line_num + 1


def _swallowed_row(cell: str, column: int, columns: int, delimiter: str, exact: bool) -> str | None:
    """A line of a quoted field over several lines that could be (part of) a row of its own, which a quote that was
    never closed has swallowed; None where there is none.

    A picture's name tells it, or as many delimiters as a row has; or those of the row that the field begins, behind its
    column, and of the one that it ends, before its column. Exact fields may have delimiters, but no row's number of
    them, and no id beside one.
    """
    first, *more = re.split(r"[\r\n]+", cell.rstrip())
    lines = [first, *filter(str.strip, more)]
    if len(lines) < 2:
        return None
    behind, before = columns - 1 - column, column
    whole = (line for line in lines[1:] if line.count(delimiter) >= columns - 1)
    named = (line for line in lines if PICTURE_NAME.search(line))
    parts = lines[0].count(delimiter) >= behind and lines[-1].count(delimiter) >= before
    line = next(named, None) or next(whole, None) or (lines[-1] if parts else None)
    if exact and line is not None and line.count(delimiter) != columns - 1 and not _has_an_id(lines, delimiter):
        return None
    return line


def _has_an_id(lines: list[str], delimiter: str) -> bool:
    """Whether a line begins or ends with what could be an image's id: a word with a digit, `_`, `/` or a dot in it, and
    a delimiter beside it. A long caption over several lines has commas, too."""
    rows = [line.split(delimiter) for line in lines if delimiter in line]
    return any(re.fullmatch(r"\s*\S*[\d_/.]\S*\s*", edge) for cells in rows for edge in (cells[0], cells[-1]))


def _plain_rows(path: Path, delimiter: str, columns: int, exact: bool) -> Iterator[tuple[int, list[str]]]:
    quoted = set() if exact else _quoted_columns(path, delimiter)
    for number, line in numbered_lines(path):
        cells = line.split(delimiter)
        if not exact or delimiter == BAR:  # Flickr30k's file has blanks behind its bars
            cells = [cell.strip() for cell in cells]
        for column, cell in enumerate([] if exact else cells):
            if QUOTED.fullmatch(cell) and (column in quoted or '""' in cell[1:-1]):
                cells[column] = _unquoted(cell)
        yield number, cells


def _quoted_columns(path: Path, delimiter: str) -> set[int]:
    """Numbers of the columns that are in quotes in each row, whatever the header's."""
    quoted: set[int] | None = None
    lines = numbered_lines(path)
    next(lines, None)
    for _, line in lines:
        here = {column for column, cell in enumerate(line.split(delimiter)) if QUOTED.fullmatch(cell.strip())}
        quoted = here if quoted is None else quoted & here
        if not quoted:
            break
    return quoted or set()
