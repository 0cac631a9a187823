"""Files of captions as the entries that they hold: JSON, JSON Lines, CSV and TSV, each of them also gzip-compressed.

A file is read as what its ending says, if its content agrees, or else refused: nothing is guessed, and nothing skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.csv_files import table_rows
from common.text_files import ObjectsByLine, first_line, json_lines, read_json

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
_LINES, _TABLES = (".jsonl", ".ndjson"), (".csv", ".tsv")
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
    kind = ending(path)
    if kind not in ENDINGS and first_line(path).lstrip()[:1] in ("{", "["):
        kind = ".json"
    if kind in _TABLES:
        return list(_table_entries(path))
    if kind in _LINES:
        return list(json_lines(path))
    if kind != ".json":
        raise ValueError(
            f"{path} (option {option}) holds no JSON, and its ending does not say what it is: let its name end in "
            f"{', '.join(ENDINGS)}, or one of them with .gz"
        )
    try:
        value = read_json(path)
    except ObjectsByLine:
        return list(json_lines(path))
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


def _table_entries(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table with its columns' names in lower case."""
    for where, row in table_rows(path, {*ID_FIELDS, *CAPTION_FIELDS}, exact=True):
        entry = {name.casefold(): cell for name, cell in row.items()}
        if len(entry) < len(row):
            raise ValueError(f"{path}: its header has two columns of one name ({', '.join(row)}): rename one")
        yield where, entry
