"""NumPy archives (.npz) of other codebases."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from common.characters import one_line

DAMAGE = (OSError, ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read_npz(path: str | Path, *names: str) -> list[np.ndarray]:
    """The arrays of these names, which hold numbers or text; nothing in the file is run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is cut short, no archive of arrays, or lacks one of them; the sentence names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it is a single array")
        with loaded as archive:
            if missing := [name for name in names if name not in archive.files]:
                raise ValueError(f"it has no array {missing[0]!r}, only {', '.join(archive.files)}")
            return [archive[name] for name in names]
    except DAMAGE as error:
        raise ValueError(f"{path} is refused as a .npz archive: {one_line(error)}") from None
