"""Tar files of samples, as webdataset and img2dataset write them: the members of one sample share a key.

https://github.com/webdataset/webdataset: a member's key is its path up to the first point of its name, and what follows
names the field. `tarfile` reads them, since all that is needed of webdataset is this rule.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any, cast

from common.characters import one_line
from embedding_space.media import NAMES, Medium, Packed, has_medium
from embedding_space.sources.source import Content, Row, Source

FETCH = "fetch or write it again"


class TarShard(Source):
    """The files of a medium in a tar file, in its order.

    Args:
        path: the tar, gzipped or not.
        field: what follows the key in the names of the members to read, such as `jpg` or `left.png`; None: any ending
            of the medium.
        prefix_keys: put the tar's path before its keys, for shards that number their samples alike.
    """

    def __init__(self, path: Path, medium: Medium, field: str | None = None, prefix_keys: bool = False):
        self.name, self.path, self.field = str(path), path, field
        self.medium: Medium = medium
        self.prefix = f"{path}/" if prefix_keys else ""

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def rows(self) -> Generator[Row]:
        before: str | None = None
        try:
            with tarfile.open(self.path) as tar:
                while (member := tar.next()) is not None:
                    cast(Any, tar).members = []  # it would keep all
                    key, field = split_name(member.name)
                    if member.isdir() or not self._is_wanted(member.name, field):
                        continue
                    if key == before:
                        raise ValueError(
                            f"{self.path}: two files of its sample {key} are {NAMES[self.medium]}, the second is "
                            f"{member.name}: say which is to be read by what follows the key, as in field={field}"
                        )
                    before = key
                    yield Row(self.prefix + key, partial(self._read, tar, member))
                self._check_end(tar)
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            raise ValueError(f"{self.path} cannot be read as a tar file ({one_line(error)}): {FETCH}") from error

    def _is_wanted(self, name: str, field: str) -> bool:
        if name.rpartition("/")[2].startswith("."):
            return False
        return has_medium(name, self.medium) if self.field is None else field == self.field.lower().lstrip(".")

    def _read(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Content:
        where = f"{self.path}/{member.name}"
        if not member.isfile() or (file := tar.extractfile(member)) is None:
            raise ValueError(f"{where} is a link or a device, and no file in the tar")
        return Packed(where, file.read())

    def _check_end(self, tar: tarfile.TarFile) -> None:
        """Raise ValueError unless the end mark follows: `tarfile` takes a damaged header for the end, too."""
        file = cast(Any, tar.fileobj)
        file.seek(cast(Any, tar).offset)
        if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise ValueError(f"{self.path} is cut off or damaged, for no end mark follows its last file: {FETCH}")


def split_name(name: str) -> tuple[str, str]:
    """(key, field) of a member: `a/0001.left.JPG` is (`a/0001`, `left.jpg`)."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    key, _, field = file.partition(".")
    return folder + slash + key, field.lower()
