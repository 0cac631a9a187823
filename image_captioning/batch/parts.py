"""The work folder of a run: captions in parts, each written whole, so that a run goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.files import write_whole
from common.text_files import json_lines
from image_captioning.batch.formats import json_line
from training.run_folder import first_difference

PART_ROWS = 1024  # files; an interruption loses no more for each process


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count` equal parts of a run."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Shard:
        """`2/8`, or None for the whole. Raises ValueError for anything else."""
        if text is None:
            return cls()
        number, slash, count = str(text).partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ValueError(f"shard={text} must be a part of a number of parts, as in shard=1/4 ... shard=4/4")
        return cls(int(number), int(count))

    @property
    def suffix(self) -> str:
        """What its files' names end with."""
        return "" if self.count == 1 else f"-{self.number}-of-{self.count}"

    def parts(self, rows: int) -> list[range]:
        """Its parts of so many files: those of all shards, one after the other, are all parts."""
        parts = [range(start, min(start + PART_ROWS, rows)) for start in range(0, rows, PART_ROWS)]
        return parts[(self.number - 1) * len(parts) // self.count : self.number * len(parts) // self.count]


class Parts:
    """The parts of a shard in `folder`, one JSONL file each, with a line for each file: its key, and its caption or
    why it could not be read."""

    def __init__(self, folder: Path, shard: Shard, rows: int):
        self.folder, self.all = folder, shard.parts(rows)

    def open(self, identity: Mapping[str, Any], overwrite: bool) -> None:
        """Go on with an interrupted run of this identity, or begin one.

        Raises:
            ValueError: the folder holds parts of another run, and `overwrite` is false, or something else.
        """
        path, identity = self.folder / "identity.json", json.loads(json.dumps(identity))
        if path.is_file():
            difference = first_difference(json.loads(path.read_text(encoding="utf-8")), identity)
            if difference is None and not overwrite:
                return
            if not overwrite:
                raise ValueError(
                    f"{self.folder} holds an unfinished run of another kind ({difference}): finish it with its own "
                    "command, name another output_dir, or start again with overwrite=true"
                )
            shutil.rmtree(self.folder)
        elif self.folder.is_dir() and any(file.suffix != ".partial" for file in self.folder.iterdir()):
            raise ValueError(
                f"{self.folder} is there already, and not of this command, which would remove it: name another "
                "output_dir, or rename it"
            )
        write_whole(path, json.dumps(identity, indent=2) + "\n")

    def missing(self) -> list[range]:
        return [part for part in self.all if not self._path(part).is_file()]

    def write(self, part: range, rows: Iterable[dict[str, str]]) -> None:
        lines = [json_line(row) for row in rows]
        if len(lines) != len(part):
            raise ValueError(f"{len(lines)} results for the {len(part)} files of {self._path(part)}")
        write_whole(self._path(part), "".join(lines))

    def rows(self) -> Iterator[dict[str, str]]:
        """What all parts hold, in order. Raises ValueError for one that is missing or damaged, which the next run makes
        again."""
        for part in self.all:
            path = self._path(part)
            if not path.is_file():
                raise ValueError(f"{path} is missing: run the same command again, which makes it")
            try:
                rows = [row for _, row in json_lines(path)]
            except ValueError:
                rows = []
            if len(rows) != len(part):
                path.unlink()
                raise ValueError(f"{path} was damaged: run the same command again, which makes it again")
            yield from rows

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _path(self, part: range) -> Path:
        return self.folder / f"{part.start:012d}.jsonl"
