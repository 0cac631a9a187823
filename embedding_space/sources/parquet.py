"""Parquet files with a column of pictures, as Hugging Face `datasets` writes them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.characters import one_line
from embedding_space.media import NAMES, Medium, Packed
from embedding_space.sources.source import Content, Row, Source

ROWS_AT_ONCE = 64  # whose bytes are in memory


class ParquetFile(Source):
    """The rows of a Parquet file; their keys are `FILE:NUMBER`, from 0.

    The column holds structs of `bytes` and `path`, as `datasets` writes pictures and sounds, or bytes, or paths. Paths
    are relative to the folder of the Parquet file.

    Args:
        field: the column; None: the only one that can hold files.
    """

    def __init__(self, path: Path, medium: Medium, field: str | None = None):
        self.name, self.path, self.field = str(path), path, field
        self.medium: Medium = medium

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def rows(self) -> Generator[Row]:
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {self.path}")
        try:
            with pq.ParquetFile(self.path) as file:
                column = self._column(file.schema_arrow)
                first = 0
                for group in range(file.metadata.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    values = _GroupValues(file, self.name, group, column)
                    for row in range(count):
                        yield Row(f"{self.path}:{first + row}", partial(self._read, values, row, first + row))
                    first += count
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            raise _unreadable(f"{self.path}", error) from error

    def _column(self, schema: pa.Schema) -> str:
        kinds = {field.name: _kind(field.type) for field in schema}
        if self.field is not None:
            if kinds.get(self.field) is None:
                what = "holds no bytes or paths" if self.field in kinds else "is not there"
                raise ValueError(
                    f"{self.path}: the column field={self.field} {what}; its columns are {_listed(schema)}"
                )
            return self.field
        # Bytes before paths: a file has many columns of text.
        for kind in ("struct", "bytes", "text"):
            of_kind = [name for name, its in kinds.items() if its == kind]
            if len(of_kind) == 1:
                return of_kind[0]
            if of_kind:
                break
        raise ValueError(
            f"{self.path}: which column holds the {NAMES[self.medium]} cannot be told: name it with field=..., of "
            f"{_listed(schema)}"
        )

    def _read(self, values: _GroupValues, row: int, number: int) -> Content:
        where = f"{self.path}:{number}"
        value = values[row]
        if isinstance(value, dict):
            path, value = value.get("path"), value.get("bytes")
            if value is not None:
                return Packed(f"{where} ({path})" if path else where, value)
            value = path
        if value is None:
            raise ValueError(f"{where} is empty: there is no {NAMES[self.medium].removesuffix('s')} in this row")
        return Packed(where, value) if isinstance(value, bytes) else self.path.parent / value


class _GroupValues:
    """The values of a column in one row group, looked up in increasing order, a few rows in memory at once.

    Looking up raises ValueError once a part of the group cannot be read.
    """

    def __init__(self, file: pq.ParquetFile, name: str, group: int, column: str):
        self.file, self.name, self.group, self.column = file, name, group, column
        self._damage: Exception | None = None
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._batch: pa.RecordBatch | None = None
        self._first = 0

    def __getitem__(self, row: int) -> Any:
        if self._damage is None:
            try:
                return self._look_up(row)
            except (pa.ArrowException, OSError, StopIteration) as error:
                self._damage = error
        # Its other rows, too: what follows a damaged page is lost, and no row may be taken for another.
        where = f"{self.name}, row group {self.group} (of {self.file.metadata.num_row_groups}, from 0),"
        raise _unreadable(where, self._damage) from self._damage

    def _look_up(self, row: int) -> Any:
        batches = self._batches or self.file.iter_batches(ROWS_AT_ONCE, [self.group], [self.column])
        batch = self._batch or next(batches)
        while row >= self._first + len(batch):
            self._first += len(batch)
            batch = next(batches)
        self._batches, self._batch = batches, batch
        return batch.column(0)[row - self._first].as_py()


def _unreadable(what: str, error: Exception) -> ValueError:
    reason = one_line(error) or type(error).__name__
    return ValueError(f"{what} cannot be read as a Parquet file ({reason}): fetch or write it again")


def _kind(of: pa.DataType) -> str | None:
    """Whether a column's values can be files: struct, bytes or text."""
    if pa.types.is_struct(of):
        names = {of.field(place).name for place in range(of.num_fields)}
        return "struct" if names & {"bytes", "path"} and names <= {"bytes", "path"} else None
    if pa.types.is_dictionary(of):
        return _kind(of.value_type)
    if pa.types.is_binary(of) or pa.types.is_large_binary(of):
        return "bytes"
    return "text" if pa.types.is_string(of) or pa.types.is_large_string(of) else None


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
