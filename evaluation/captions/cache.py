"""Files that only save time: what cannot be read or written there costs time and one warning, never a result."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from common.files import write_whole

logger = logging.getLogger(__name__)

_warned: set[Path] = set()


def read_cached(path: Path) -> str | None:
    """The text of a cached file, None where there is none or it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _warn(path.parent, error)
        return None


def write_cached(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        write_whole(path, text)
    except OSError as error:
        _warn(path.parent, error)


def usable_folder(path: Path) -> Path | None:
    """A folder, made if need be, that files can be written to; None where that cannot be had."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to write to {path}")
    except OSError as error:
        _warn(path, error)
        return None
    return path


def _warn(folder: Path, error: Exception) -> None:
    if folder not in _warned:
        _warned.add(folder)
        logger.warning(
            "Nothing can be kept in %s (%s): it is computed each time; name another folder with cache_dir=...",
            folder, error,
        )  # fmt: skip
