"""What readers yield, photo by photo, and the small things that reading annotation files has in common."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True)
class Photo:
    """A photo and its captions, or, where `path` is None, text without a photo.

    about: id or file name of the photo that such text tells of, where its file says so.
    """

    image_id: str
    path: Path | None
    split: str
    captions: tuple[str, ...] = ()
    about: str | None = None


def annotation_file(folder: Path, name: str, option: str) -> Path:
    """The file `name` in `folder`, where an absolute name stands for itself.

    Raises FileNotFoundError naming the options that say where it should be.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}: name the folder that holds it with dataset.source=..., or the file with "
            f"dataset.{option}=...; data/README.md says how to get it"
        )
    return path


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ValueError with the file's name when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no JSON ({error}): fetch it again, see data/README.md") from error


def entries_of(path: Path, content: Any, key: str) -> list:
    """The list under `key` of a JSON file's content. Raises ValueError when there is none."""
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise ValueError(f"{path} must be an object with a list {key!r}; data/README.md describes the formats")
    return content[key]


def field(path: Path, where: str, entry: Any, name: str) -> Any:
    """`entry[name]`. Raises ValueError naming file and entry when it is not there."""
    if not isinstance(entry, dict) or entry.get(name) is None:
        raise ValueError(f"{path}, {where}: the field {name!r} is missing; data/README.md describes the formats")
    return entry[name]


def cleaned(path: Path, captions: Iterable[Any], where: str) -> tuple[str, ...]:
    """Captions with each run of white space as one space; blank ones (there are some in COCO's files) are left out."""
    texts = []
    for caption in captions:
        if not isinstance(caption, str):
            raise ValueError(f"{path}, {where}: a caption must be text, not {caption!r}")
        texts.append(" ".join(caption.split()))
    return tuple(text for text in texts if text)


@contextmanager
def utf8_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """A text file, opened; the mark that some editors begin UTF-8 with is left out. ValueError for other encodings."""
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of a UTF-8 text file without blank lines. Raises ValueError for other encodings."""
    with utf8_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    """(`line n`, object) of each line of a JSONL file. Raises ValueError naming the line that is none."""
    for number, line in numbered_lines(path):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is no JSON: {error}") from error
        if not isinstance(entry, dict):
            raise ValueError(f"{path}, line {number} must be a JSON object, not {line[:40]!r}")
        yield f"line {number}", entry
