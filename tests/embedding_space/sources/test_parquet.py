"""Parquet files: which column holds the pictures, and how."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedding_space.media import Packed
from embedding_space.sources.parquet import ParquetFile


@pytest.fixture
def write(tmp_path):
    def write_columns(row_group_size=None, **columns):
        pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=row_group_size)
        return tmp_path / "t.parquet"

    return write_columns


def read(path, field=None):
    contents = [row.read() for row in ParquetFile(path, "image", field).rows()]
    return [file.content if isinstance(file, Packed) else file for file in contents]


def test_pictures_of_datasets_are_read(write, tmp_path):
    pictures = [{"bytes": b"1", "path": None}, {"bytes": b"2", "path": "b.jpg"}, {"bytes": None, "path": "c.jpg"}]
    path = write(image=pictures, label=[0, 1, 2], text=["x", "y", "z"])
    assert read(path) == [b"1", b"2", tmp_path / "c.jpg"]
    rows = list(ParquetFile(path, "image").rows())
    assert [row.key for row in rows] == [f"{path}:{number}" for number in range(3)]
    assert str(next(iter(ParquetFile(path, "image").rows())).read()) == f"{path}:0"


def test_bytes_and_paths_are_read_too(write, tmp_path):
    assert read(write(jpg=[b"a", b"b"], caption=["x", "y"])) == [b"a", b"b"]
    assert read(write(path=["a.jpg", "/b.jpg"], number=[1, 2])) == [tmp_path / "a.jpg", Path("/b.jpg")]
    assert read(write(jpg=[b"a"], file=["c.jpg"]), "file") == [tmp_path / "c.jpg"]


def test_rows_of_many_groups_are_looked_up_in_any_distance(write):
    values = [str(number).encode() for number in range(1000)]
    path = write(300, jpg=values)
    assert read(path) == values
    rows = (row for number, row in enumerate(ParquetFile(path, "image").rows()) if number % 97 == 5)
    assert [file.content for row in rows for file in [row.read()] if isinstance(file, Packed)] == values[5::97]


def test_an_empty_row_is_a_problem_of_its_own(write):
    path = write(image=[None, {"bytes": None, "path": None}, {"bytes": b"1", "path": None}])
    rows = ParquetFile(path, "image").rows()
    for number in range(2):
        with pytest.raises(ValueError, match=rf"t.parquet:{number} is empty: there is no picture in this row"):
            next(rows).read()
    assert isinstance(next(rows).read(), Packed)


def test_a_column_that_cannot_be_told_is_asked_for(write, tmp_path):
    with pytest.raises(ValueError, match=r"which column holds the pictures cannot be told: .*field=\.\.\., of a \(bin"):
        read(write(a=[b"1"], b=[b"2"]))
    with pytest.raises(ValueError, match=r"field=c is not there; its columns are a \(int64\)"):
        read(write(a=[1]), "c")
    with pytest.raises(ValueError, match=r"field=a holds no bytes or paths"):
        read(write(a=[1]), "a")
    (tmp_path / "t.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ValueError, match=r"t.parquet cannot be read as a Parquet file .*fetch or write it again"):
        read(tmp_path / "t.parquet")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read(tmp_path / "gone.parquet")
