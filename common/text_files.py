"""Text files, line by line or as JSON: UTF-8 with any line ends, gzipped or not; what is damaged is refused."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

BYTE_ORDER_MARK = "\ufeff"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class DuplicateKey(ValueError):
    """A JSON object has a key twice, of which Python's own reader would drop the first without a word."""

    def __init__(self, key: str):
        super().__init__(f"the key {key!r} is there twice in one object")
        self.key = key


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked where they are gzipped. Raises ValueError for damaged gzip."""
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        if start != b"\x1f\x8b":
            yield file
            return
        try:
            with gzip.open(file) as unpacked:
                yield unpacked
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is a damaged gzip file ({error}): fetch it again") from error


def _decoded(path: Path, where: str, raw: bytes) -> str:
    if raw.startswith(UTF16_MARKS):
        raise ValueError(f"{path} is not UTF-8 text but UTF-16: save it as UTF-8")
    if b"\0" in raw:
        raise ValueError(f"{path} is not UTF-8 text ({where} holds a NUL byte, as UTF-16 does): save it as UTF-8")
    try:
        return raw.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({where}: {error.reason} at byte {error.start} of it): save it as UTF-8"
        ) from error


def lines_of(path: Path, returns_inside: bool = False) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of each line, blank ones too; byte order marks are left out.

    Lines end with LF or CR LF, or, in a file without any LF, with CR. No other character ends a line.

    returns_inside: whether a CR may be within a line, as in a quoted field of CSV.

    Raises ValueError with file and line for other encodings, NUL bytes, damaged gzip, and a CR within a line.
    """
    with opened(path) as file:
        for number, raw in enumerate(file, 1):
            body = raw.rstrip(b"\r\n")
            if number == 1 and b"\r" in body and not raw.endswith(b"\n"):
                yield from ((n, _decoded(path, f"line {n}", line)) for n, line in enumerate(body.split(b"\r"), 1))
                return
            if b"\r" in body and not returns_inside:
                raise ValueError(
                    f"{path}, line {number} holds a carriage return (CR) within the line, where other lines end with "
                    "LF: save the file with one kind of line ends"
                )
            yield number, _decoded(path, f"line {number}", body)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of `lines_of` that are not blank."""
    return ((number, line) for number, line in lines_of(path) if line.strip())


def first_line(path: Path) -> str:
    """The first line that is not blank, or an empty string."""
    return next((line for _, line in lines_of(path, returns_inside=True) if line.strip()), "")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ValueError with the file's name when it is damaged, or a key twice there."""
    with opened(path) as file:
        text = _decoded(path, "it", file.read())
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        if _is_object(text.lstrip().partition("\n")[0]):
            raise ValueError(f"{path} is no JSON file but holds an object a line: call it .jsonl ({error})") from error
        raise ValueError(f"{path} is damaged or no JSON ({error}): fetch it again, see data/README.md") from error


def json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    """(`line n`, object) of each line of a JSONL file. Raises ValueError naming the line that is none."""
    for number, line in numbered_lines(path):
        try:
            entry = parse_json(line)
        except (ValueError, RecursionError) as error:
            more = ". A JSON file that goes over several lines must be called .json" if number == 1 else ""
            raise ValueError(f"{path}, line {number} is no JSON: {error}{more}") from error
        if not isinstance(entry, dict):
            raise ValueError(
                f"{path}, line {number} must be a JSON object, not {line[:40]!r}; a file with one list must be called "
                ".json"
            )
        yield f"line {number}", entry


def parse_json(text: str) -> Any:
    """JSON whose objects have each key once. Raises DuplicateKey, or JSONDecodeError for what is none."""
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise DuplicateKey(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return content


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
