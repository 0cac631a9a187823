"""A terminal that does not know a character shows its escape, and the program goes on."""

from __future__ import annotations

import io
import sys

import pytest

from common.terminal import print_any_character
from evaluation.table import Table


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_captions_tables_and_names_are_printed(encoding, monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    print_any_character()
    said = "un café 你好 \ufffd 😀 caf\udce9.jpg ±"
    for stream in streams:
        print(said, Table([{"metric": "CIDEr", "value": None}]).text(), file=stream, flush=True)
        shown = stream.buffer.getvalue().decode(encoding)
        assert "un caf" in shown and "\\udce9.jpg" in shown and "CIDEr" in shown
        assert ("你好" in shown) == (encoding == "utf-8")


def test_what_is_no_text_file_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    print_any_character()
