"""Files as they lie in folders, and lists of their paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

from common.text_files import numbered_lines
from embedding_space.media import NAMES, Medium, has_medium, medium_of
from embedding_space.sources.source import Row, Source

OTHER_FILES = "other files"


class OneFile(Source):
    """A file that is named itself: it is tried, whatever its ending."""

    def __init__(self, path: Path):
        self.name, self.path = str(path), path

    def rows(self) -> Generator[Row]:
        yield Row(str(self.path), lambda: self.path)


class Folder(Source):
    """The files of a medium in and below a folder, sorted by name; hidden files are passed over.

    The names in one folder are in memory together, those below it are not.

    Attributes:
        others: {kind of other files: how many}, as the last pass over `rows` counted them.
    """

    def __init__(self, path: Path, medium: Medium):
        self.name, self.path = str(path), path
        self.medium: Medium = medium
        self.others: Counter[str] = Counter()

    def rows(self) -> Generator[Row]:
        self.others.clear()
        for file in visible_files(self.path):
            if has_medium(file, self.medium):
                yield Row(str(file), partial(Path, file))
            else:
                self.others[kind_of(file)] += 1


def kind_of(file: Path) -> str:
    """What messages call such files, such as `sounds`."""
    medium = medium_of(file)
    return NAMES[medium] if medium else OTHER_FILES


def visible_files(folder: Path) -> Iterator[Path]:
    """All files below a folder but hidden ones, in the order of `sorted(folder.rglob("*"))`, and as little of it in
    memory."""
    with os.scandir(folder) as entries:
        names, folders = [], set()
        for entry in entries:
            names.append(entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
    for name in sorted(names):
        path = folder / name
        if name in folders:
            yield from visible_files(path)
        elif not name.startswith(".") and path.is_file():
            yield path


class PathList(Source):
    """A text file with one path a line, relative to the working folder as words of a command line are.

    Args:
        path: the text file, gzipped or not.
        packed: endings of files that hold many; a list may not name them.
    """

    def __init__(self, path: Path, packed: tuple[str, ...] = ()):
        self.name, self.path, self.packed = f"@{path}", path, packed

    def rows(self) -> Generator[Row]:
        for number, line in numbered_lines(self.path):
            if line.lower().endswith(self.packed):
                raise ValueError(
                    f"{self.path}, line {number} names {line}, which holds many files: name it on the command line, "
                    "for a list has one file a line"
                )
            yield Row(line, partial(Path, line))
