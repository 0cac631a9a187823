"""The real pictures that generated ones are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedding_space.datasets.folders import picture_files
from embedding_space.splits import spelled
from embedding_space.tables import read_tables


@dataclass(frozen=True)
class ReferenceFacts:
    """Which pictures were compared with: a split of a data set, or a folder.

    hash: of a split the hash of the data set's tables; of a folder that of the files' names and sizes.
    """

    pictures: int
    hash: str
    dataset: str | None = None
    split: str | None = None
    folder: str | None = None


@dataclass(frozen=True)
class References:
    """Real pictures, and what a result says of them."""

    paths: Sequence[Path]
    facts: ReferenceFacts


def split_references(root: str | Path, split: str) -> References:
    """All images of a data set's split.

    Raises:
        MissingTables: the data set was not prepared.
        ValueError: there is no such split of images.
    """
    tables = read_tables(Path(root))
    paths = tables.image_paths(tables.image_rows(split))
    facts = ReferenceFacts(len(paths), tables.hash, dataset=Path(root).name, split=spelled(split))
    return References(paths, facts)


def folder_references(folder: str | Path) -> References:
    """All pictures in a folder and its subfolders.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no pictures.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder} (option reference): name one of real pictures")
    paths = picture_files(folder)
    if not paths:
        raise ValueError(f"There is no picture in {folder} (option reference): name a folder of real pictures")
    names = "\n".join(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in paths)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return References(paths, ReferenceFacts(len(paths), digest, folder=str(folder)))
