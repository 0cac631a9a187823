"""Text files, line by line or as JSON: UTF-8 with any line ends, gzipped or not; what is damaged is refused."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

BYTE_ORDER_MARK = "\ufeff"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class ObjectsByLine(ValueError):
    """A file called .json is no JSON, but has an object on each line."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked where they are gzipped.

    Raises:
        ValueError: the gzip data are damaged, or the name ends in .gz and there are none.
    """
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        if start != b"\x1f\x8b":
            if path.suffix.lower() == ".gz":
                raise ValueError(f"{path} is not compressed with gzip, as its ending says: take .gz off its name")
            yield file
            return
        try:
            with gzip.open(file) as unpacked:
                yield cast(IO[bytes], unpacked)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is a damaged gzip file ({error}): fetch it again") from error


def _decoded(path: Path, line: int, raw: bytes) -> str:
    """`raw`, which begins with the line of this number, without a byte order mark."""
    if raw.startswith(UTF16_MARKS):
        raise ValueError(f"{path} is not UTF-8 text but UTF-16: save it as UTF-8")
    if (nul := raw.find(b"\0")) >= 0:
        at = line + raw.count(b"\n", 0, nul)
        raise ValueError(f"{path} is not UTF-8 text (line {at} holds a NUL byte, as UTF-16 does): save it as UTF-8")
    try:
        return raw.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        at = line + raw.count(b"\n", 0, error.start)
        byte = error.start - raw.rfind(b"\n", 0, error.start) - 1
        raise ValueError(
            f"{path} is not UTF-8 text (line {at}: {error.reason} at byte {byte} of it): save it as UTF-8"
        ) from error


def raw_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line with its end) of each line; byte order marks are left out.

    Lines end with LF or CR LF, or, in a file without any LF, with CR. No other character ends a line.

    Raises:
        ValueError: another encoding, a NUL byte or damaged gzip, with file and line.
    """
    with opened(path) as file:
        for number, raw in enumerate(file, 1):
            if number == 1 and b"\r" in raw and not raw.endswith(b"\n"):
                parts = raw.removesuffix(b"\r").split(b"\r")
                yield from ((n, _decoded(path, n, part) + "\r") for n, part in enumerate(parts, 1))
                return
            yield number, _decoded(path, number, raw)


def lines_of(path: Path, returns_inside: bool = False) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of each line of `raw_lines`, blank ones too.

    Args:
        returns_inside: whether a CR may be within a line.

    Raises:
        ValueError: as for `raw_lines`, and for a CR within a line.
    """
    for number, line in raw_lines(path):
        body = line.rstrip("\r\n")
        if "\r" in body and not returns_inside:
            raise ValueError(
                f"{path}, line {number} holds a carriage return (CR) within the line, where other lines end with "
                "LF: save the file with one kind of line ends"
            )
        yield number, body


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of `lines_of` that are not blank."""
    return ((number, line) for number, line in lines_of(path) if line.strip())


def first_line(path: Path) -> str:
    """The first line that is not blank, or an empty string."""
    return next((line for _, line in lines_of(path, returns_inside=True) if line.strip()), "")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ObjectsByLine: the file is no JSON, but has an object on each line.
        ValueError: the file is damaged, or an object in it has a key twice.
    """
    with opened(path) as file:
        text = _decoded(path, 1, file.read())
    try:
        return _parsed(text, str(path))
    except ValueError as error:
        first, *more = re.split(r"[\r\n]+", text.strip(), maxsplit=1)
        if more and _is_object(first):
            raise ObjectsByLine(f"{error}. It holds one object per line: call it .jsonl") from error
        raise


def json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    """(`line n`, object) of each line of a JSONL file. Raises ValueError naming the line that is none."""
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        try:
            entry = _parsed(line, where)
        except ValueError as error:
            more = ". A JSON file that goes over several lines must be called .json" if number == 1 else ""
            raise ValueError(f"{error}{more}") from error
        if not isinstance(entry, dict):
            hint = "; a file with one JSON list must be called .json" if isinstance(entry, list) else ""
            raise ValueError(f"{where} must be a JSON object, not {line[:40]!r}{hint}")
        yield f"line {number}", entry


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets a thousand deep, too
        raise ValueError(f"{where} is not valid JSON ({error}): it may be cut; fetch or write it again") from error


def parse_json(text: str) -> Any:
    """JSON whose objects have each key once. Raises ValueError for what is none."""
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {key!r} is there twice in one object")
    return content


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
