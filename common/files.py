"""Files written whole or not at all, and what they hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """The name to write a file under: it becomes `path` when the block ends, and is removed when the block fails.

    No reader, and no later run after a kill, ever sees a part of the file. Its folder is made if need be.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{token_hex(8)}.partial")  # processes on other machines have equal numbers
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_whole(path: str | Path, text: str, errors: str = "backslashreplace") -> None:
    """Write `text` as UTF-8, whole or not at all.

    Args:
        errors: what becomes of half characters, as names of files that are not UTF-8 hold; by default JSON's escapes.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)


def write_json(path: str | Path, content: Any, **options: Any) -> None:
    """Write `content` as indented JSON, whole or not at all; `options` are `json.dumps`'."""
    write_whole(path, json.dumps(content, indent=2, **options) + "\n")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file of any size, for a model's weights can change under the same name."""
    return _file_hash(path, hashlib.sha256())


def file_md5(path: str | Path) -> str:
    """MD5 of a file of any size, as published data sets give it."""
    return _file_hash(path, hashlib.md5(usedforsecurity=False))


def _file_hash(path: str | Path, digest) -> str:
    with Path(path).open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()
