"""Output to terminals and files that do not know every character."""

from __future__ import annotations

import io
import sys


def print_any_character() -> None:
    r"""Have standard output and error show what their encoding lacks as `\u2013`, where Python would stop the program:
    dashes and captions in an ASCII or cp1252 terminal, file names that are not UTF-8 in any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
