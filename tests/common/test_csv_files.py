"""Tables under a header line: delimiters, quotes and rows that do not fit."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.csv_files import find_delimiter, table_rows

KNOWN = {"image", "caption"}


@pytest.fixture
def read(tmp_path):
    def read(text: str, name: str = "captions.csv", **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return list(table_rows(path, KNOWN, **options))

    return read


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("image,caption", ","), ("Image;Caption", ";"), ("image\tcaption", "\t"), ("a| image| b", "|"), ("x;y", ",")],
)
def test_the_delimiter_is_the_one_that_gives_a_known_name(header, delimiter):
    assert find_delimiter(header, KNOWN) == delimiter


def test_rows_come_with_their_lines_and_without_unnamed_columns(read):
    rows = read('image,caption,\na.jpg,"a dog, running",7\n,,\nb.jpg, a cat ,8\n')
    assert rows == [
        ("line 2", {"image": "a.jpg", "caption": "a dog, running"}),
        ("line 4", {"image": "b.jpg", "caption": "a cat"}),
    ]
    assert read("image| caption\na.jpg| a dog, \n") == [("line 2", {"image": "a.jpg", "caption": "a dog,"})]


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1).filter(str.strip),
        min_size=1,
    )
)
def test_exact_cells_come_back_as_csv_wrote_them(tmp_path_factory, captions):
    path = tmp_path_factory.mktemp("csv") / "captions.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *enumerate(captions)])
    rows = [row for _, row in table_rows(path, KNOWN, exact=True)]
    assert rows == [{"image": str(n), "caption": caption} for n, caption in enumerate(captions)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,image\na,b\n", "two columns 'image'"),
        ('{"image": 1}\n', "holds JSON, no table"),
        ("image,caption\na.jpg,a dog, a cat\n", "line 2"),
        ('image,caption\na.jpg,"a dog\n', "line 2"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)
