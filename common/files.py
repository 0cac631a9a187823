"""Files written whole or not at all, and what they hash to."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file of which no reader, and no later run after a kill, ever sees a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    # Names of files that are not UTF-8 hold half characters: written as JSON's escapes of them.
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    temporary.replace(path)


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file of any size, for a model's weights can change under the same name."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()
