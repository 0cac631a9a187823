"""Fixtures: tar and Parquet files of small contents."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write_tar() -> Callable[..., Path]:
    """A writer of tar files: (path, {member's name: content})."""

    def write(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], mode: str = "w") -> Path:
        with tarfile.open(path, mode) as tar:
            for name, content in members.items() if isinstance(members, dict) else members:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path

    return write
