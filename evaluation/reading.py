"""Files of captions as the entries that they hold: JSON, JSON Lines, CSV and TSV, each of them also gzip-compressed.

A file is read as what its ending says, if its content agrees, or else refused: nothing is guessed, and nothing skipped.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.delimited import BAR, COMMA, NAMES, QUOTING, TAB, find_delimiter, swallowed_row
from common.text_files import UTF16_MARKS, DuplicateKey, opened, parse_json

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
_LINES, _TABLES = (".jsonl", ".ndjson"), {".csv": COMMA, ".tsv": TAB}
_GZIP = b"\x1f\x8b"
# A line of RFC 4180: quotes are around a whole cell, and doubled within.
_CELLS = {delimiter: rf'(?:"(?:[^"]|"")*"|[^"{delimiter}\r\n]*)' for delimiter in QUOTING}
_CSV_LINES = {
    delimiter: re.compile(rf"{cell}(?:{delimiter}{cell})*(?:\r\n|\r|\n)?") for delimiter, cell in _CELLS.items()
}
# What an entry's image and caption may be called, in the order in which they are looked for.
ID_FIELDS = ("image_id", "image", "image_name", "file_name", "filename", "path", "id")
CAPTION_FIELDS = ("caption", "prediction", "comment", "text")

Entries = list[tuple[str, Any]]  # what is read and where that is, such as ("line 7", {"image_id": 7, "caption": "…"})


def read_entries(path: str | Path, option: str) -> dict[str, Any] | Entries:
    """A JSON file's object, or the entries of a JSON list, of JSON Lines, or of a table with a header line.

    option: the option that names the file, for messages.

    Raises FileNotFoundError, and ValueError with file, line and remedy for whatever is not of the kind that its ending
    and its content say.
    """
    path = Path(path)
    if not path.is_file():
        hint = ": it is a folder" if path.is_dir() else ""
        raise FileNotFoundError(f"There is no file {path} (option {option}){hint}")
    text = _text(path)
    kind, content = ending(path), text.lstrip()
    if kind not in ENDINGS:
        kind = ".json" if content[:1] in ("{", "[") else kind
    if kind in _TABLES:
        if content[:1] in ("{", "["):
            raise ValueError(f"{path} holds JSON, no table: let its name end in .json, or .jsonl for an object a line")
        return list(_table_entries(path, text, _TABLES[kind]))
    if kind in _LINES:
        return list(_line_entries(path, text))
    if kind != ".json":
        raise ValueError(
            f"{path} (option {option}) holds no JSON, and its ending does not say what it is: let its name end in "
            f"{', '.join(ENDINGS)}, or one of them with .gz"
        )
    try:
        value = _parsed(text, path)
    except ValueError:
        if not _is_lines(text):
            raise
        return list(_line_entries(path, text))
    if isinstance(value, list):
        return [(f"entry {n}", entry) for n, entry in enumerate(value)]
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a list or an object of {option}, not {shown(value)}")
    return value


def read_object(path: str | Path, option: str) -> dict[str, Any]:
    """A JSON file's object; raises as `read_entries`."""
    content = read_entries(path, option)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, not {shown([entry for _, entry in content])}")
    return content


def ending(path: str | Path) -> str:
    """The ending in lower case, without .gz: ".json" of "A.JSON.gz"."""
    path = Path(str(path).lower())
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def shown(value: Any) -> str:
    """A value as JSON, shortened, for messages."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _text(path: Path) -> str:
    if path.suffix.lower() == ".gz" and not path.read_bytes().startswith(_GZIP):
        raise ValueError(f"{path} is not compressed with gzip, as its ending says: take .gz off its name")
    with opened(path) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith(UTF16_MARKS):
            raise ValueError(f"{path} is not a UTF-8 text file but UTF-16: save it as UTF-8") from error
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not a UTF-8 text file ({error.reason} at byte {error.start}, line {line}): save it as UTF-8"
        ) from error


def _parsed(text: str, path: Path, line: int | None = None) -> Any:
    where = f"{path}, line {line}" if line else str(path)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if line else f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{where} is not valid JSON: {error.msg} at {at}: it may be cut; write it again") from error
    except DuplicateKey as error:
        raise ValueError(f"{where} holds the key {error.key!r} twice in one object") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets a thousand deep
        raise ValueError(f"{where} is not valid JSON: {error}") from error


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers; unlike `str.splitlines`, not cut at U+2028 and the like."""
    for number, line in enumerate(re.split("\r\n|\r|\n", text), 1):
        if line.strip():
            yield number, line


def _is_lines(text: str) -> bool:
    """Whether a file that is no JSON holds an object a line, as its first line tells."""
    lines = [line for (_, line), _ in zip(_numbered(text), range(2), strict=False)]
    try:
        return len(lines) == 2 and isinstance(json.loads(lines[0]), dict)
    except (ValueError, RecursionError):
        return False


def _line_entries(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in _numbered(text):
        entry = _parsed(line, path, number)
        if not isinstance(entry, dict):
            hint = ": let the name of a file with one JSON list end in .json" if isinstance(entry, list) else ""
            raise ValueError(f"{path}, line {number} must be a JSON object, not {shown(entry)}{hint}")
        yield f"line {number}", entry


def _table_entries(path: Path, text: str, delimiter: str) -> Iterator[tuple[str, dict[str, str]]]:
    first = next((line for _, line in _numbered(text)), "")
    delimiter = find_delimiter(first.casefold(), {*ID_FIELDS, *CAPTION_FIELDS}, delimiter)
    rows = _table_rows(path, text, delimiter)
    _, header, _ = next(rows, (0, [], ""))
    names = [name.strip().casefold() for name in header]
    if twice := [name for name, count in Counter(names).items() if count > 1 and name]:
        raise ValueError(f"{path}, line 1 names the column {twice[0]!r} more than once")
    for number, cells, raw in rows:
        if len(cells) != len(names):
            name = NAMES[delimiter]
            remedy = (
                f"quote a caption that holds a {name}" if delimiter in QUOTING else f"a caption must hold no {name}"
            )
            raise ValueError(
                f"{path}, line {number} has {len(cells)} cells, but the header has {len(names)} "
                f"({', '.join(header)}): {remedy}; the line: {shown(raw.rstrip())}"
            )
        yield f"line {number}", dict(zip(names, cells, strict=True))


def _table_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """(number of its first line, cells, the line as it is) of each row that is not blank."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    # Quotes are a part of the text in TSV and between |.
    quoting = csv.QUOTE_MINIMAL if delimiter in QUOTING else csv.QUOTE_NONE
    reader, width = csv.reader(lines(), delimiter=delimiter, quoting=quoting, strict=True), None
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}, line {number} is no CSV ({error}): {_QUOTES}") from error
        raw = "".join(taken)
        taken.clear()
        if not raw.strip():
            continue
        if "\0" in raw:
            raise ValueError(f"{path}, line {number} holds a NUL byte, so it is no text: write the file again")
        width = width or len(cells)
        if quoting == csv.QUOTE_MINIMAL:
            _check_quotes(path, number, cells, raw, width, delimiter)
        if delimiter == BAR:  # Flickr30k's has blanks behind them
            cells = [cell.strip() for cell in cells]
        yield number, cells, raw


def _has_an_id(cell: str, delimiter: str) -> bool:
    """Whether a line of the cell begins or ends with what could be an image's id: a word with a digit, `_`, `/` or a
    dot in it, and a delimiter beside it. A long caption over several lines has commas, too."""
    lines = [line.split(delimiter) for line in re.split("\r\n|\r|\n", cell) if delimiter in line]
    return any(re.fullmatch(r"\s*\S*[\d_/.]\S*\s*", edge) for cells in lines for edge in (cells[0], cells[-1]))


_QUOTES = 'put quotes around the whole cell, and write a quote within it as ""'


def _check_quotes(path: Path, number: int, cells: list[str], raw: str, width: int, delimiter: str) -> None:
    """Refuse a stray quote, and a cell that seems to have swallowed the rows up to the next one."""
    if not _CSV_LINES[delimiter].fullmatch(raw):
        raise ValueError(f"{path}, line {number} has a stray quote: {_QUOTES}; the line: {shown(raw.rstrip())}")
    for column, cell in enumerate(cells):
        inner = swallowed_row(cell, column, width, delimiter)
        if inner is not None and (inner.count(delimiter) == width - 1 or _has_an_id(cell, delimiter)):
            raise ValueError(
                f"{path}, line {number} opens a quote that closes lines later, after what looks like another row "
                f"({shown(inner)}): {_QUOTES}, and each caption on one line"
            )
