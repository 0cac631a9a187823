"""The files that captions are written to: JSON lines, CSV, Parquet, or the metadata of an ImageFolder."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

Rows = Iterable[tuple[str, str]]  # (key, caption)
GROUP_ROWS = 65_536  # of Parquet
SCHEMA = pa.schema([("key", pa.string()), ("caption", pa.string())])
IMAGEFOLDER = "imagefolder"


def open_text(path: Path) -> IO[str]:
    """A new file of UTF-8 without the system's line ends; half characters of file names become JSON's escapes."""
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def json_line(row: dict[str, str]) -> str:
    """The object on a line of its own."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def _write_jsonl(path: Path, rows: Rows, folder: Path) -> None:
    with open_text(path) as file:
        file.writelines(json_line({"key": key, "caption": caption}) for key, caption in rows)


def _write_csv(path: Path, rows: Rows, folder: Path) -> None:
    with open_text(path) as file:
        writer = csv.writer(file)
        writer.writerow(("key", "caption"))
        writer.writerows(rows)


def _write_parquet(path: Path, rows: Rows, folder: Path) -> None:
    with pq.ParquetWriter(path, SCHEMA) as writer:
        remaining: Iterator[tuple[str, str]] = iter(rows)
        while group := list(islice(remaining, GROUP_ROWS)):
            keys, captions = zip(*group, strict=True)
            keys = [key.encode("utf-8", "backslashreplace").decode() for key in keys]
            writer.write_table(pa.table([keys, captions], schema=SCHEMA))


def _write_metadata(path: Path, rows: Rows, folder: Path) -> None:
    with open_text(path) as file:
        file.writelines(json_line({"file_name": name_in(folder, key), "text": caption}) for key, caption in rows)


def name_in(folder: Path, key: str) -> str:
    """The path of a picture relative to the folder of its metadata, as an ImageFolder has it.

    Raises:
        ValueError: it is not below that folder.
    """
    name = Path(os.path.relpath(key, folder))
    if name.parts[:1] == (os.pardir,):
        raise ValueError(
            f"format={IMAGEFOLDER} writes the names of pictures below output_dir={folder}, and {key} is not there: "
            "give the folder of the pictures as output_dir"
        )
    return name.as_posix()


# {format: (file's name and ending, its writer)}
FORMATS: dict[str, tuple[str, str, Callable[[Path, Rows, Path], None]]] = {
    "jsonl": ("captions", ".jsonl", _write_jsonl),
    "csv": ("captions", ".csv", _write_csv),
    "parquet": ("captions", ".parquet", _write_parquet),
    IMAGEFOLDER: ("metadata", ".jsonl", _write_metadata),
}
