"""The source that a path means."""

from __future__ import annotations

from pathlib import Path

from embedding_space.media import Medium
from embedding_space.sources.files import Folder, OneFile, PathList
from embedding_space.sources.names import LIST_MARK, PACKED_ENDINGS, PARQUET_ENDING, is_list, is_packed
from embedding_space.sources.source import Source


def open_source(path: Path, medium: Medium, field: str | None = None, prefix_keys: bool = False) -> Source:
    """A folder, `@list`, tar file, Parquet file or single file as a source.

    Args:
        medium: what its files are.
        field, prefix_keys: as of `TarShard` and `ParquetFile`.
    """
    if is_list(path):
        return PathList(Path(str(path).removeprefix(LIST_MARK)), PACKED_ENDINGS)
    if path.is_dir():
        return Folder(path, medium)
    if path.name.lower().endswith(PARQUET_ENDING):
        from embedding_space.sources.parquet import ParquetFile

        return ParquetFile(path, medium, field)
    if is_packed(path):
        from embedding_space.sources.tar import TarShard

        return TarShard(path, medium, field, prefix_keys)
    return OneFile(path)
