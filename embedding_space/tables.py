"""A data set's two tables: images.parquet and captions.parquet, one row an image or a caption."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

IMAGE_SCHEMA = pa.schema([("image_id", pa.string()), ("path", pa.string()), ("split", pa.string())])
CAPTION_SCHEMA = pa.schema(
    [("caption_id", pa.string()), ("image_row", pa.int64()), ("caption", pa.string()), ("split", pa.string())]
)


@dataclass(frozen=True)
class Tables:
    """The tables of one data set; either may be empty (text-only corpora, plain image folders).

    images: `image_id`, `path` (relative to `root`), `split`.
    captions: `caption_id`, `image_row` (null for text without an image), `caption`, `split`.
    """

    root: Path
    images: pa.Table
    captions: pa.Table

    @property
    def hash(self) -> str:
        """SHA-256 over both tables' contents; stores record it, so that rows and embeddings cannot drift apart."""
        digest = hashlib.sha256()
        for table in (self.images, self.captions):
            for column in table.column_names:
                for value in table[column].to_pylist():
                    digest.update(f"{value}\x1f".encode())
        return digest.hexdigest()

    def image_rows(self, split: str) -> np.ndarray:
        """Row numbers (int64) of the images of `split`."""
        return _rows(self.images, split, "images", self.root)

    def caption_rows(self, split: str) -> np.ndarray:
        """Row numbers (int64) of the captions of `split`."""
        return _rows(self.captions, split, "captions", self.root)

    def image_paths(self, rows: np.ndarray) -> list[Path]:
        """Absolute or root-relative paths of the given image rows."""
        return [self.root / path for path in self.images["path"].take(pa.array(rows)).to_pylist()]

    def pairs(self, split: str) -> np.ndarray:
        """(M,) int64: for each caption of `split`, the position of its image among the images of `split`.

        Raises ValueError when a caption of the split has no image there.
        """
        wanted = self.captions["image_row"].take(pa.array(self.caption_rows(split)))
        if wanted.null_count:
            raise ValueError(f"Split {split!r} of {self.root} holds captions without images; it has no pairs")
        image_rows, wanted = self.image_rows(split), wanted.to_numpy()
        found = np.searchsorted(image_rows, wanted).clip(max=len(image_rows) - 1)
        if (image_rows[found] != wanted).any():
            raise ValueError(f"Captions of split {split!r} of {self.root} belong to images of another split")
        return found

    def references(self, split: str) -> dict[str, list[str]]:
        """{image_id: [captions]} of every image of `split`: its captions of that split, all in table order."""
        rows = self.image_rows(split)
        ids = self.images["image_id"].take(pa.array(rows)).to_pylist()
        by_row: dict[int, list[str]] = {int(row): [] for row in rows}
        own = pc.and_(pc.is_in(self.captions["image_row"], pa.array(rows)), pc.equal(self.captions["split"], split))
        captions = self.captions.filter(own)
        for row, caption in zip(captions["image_row"].to_pylist(), captions["caption"].to_pylist(), strict=True):
            by_row[row].append(caption)
        return {image_id: by_row[int(row)] for image_id, row in zip(ids, rows, strict=True)}


def _rows(table: pa.Table, split: str, kind: str, root: Path) -> np.ndarray:
    rows = np.flatnonzero(pc.equal(table["split"], split).to_numpy(zero_copy_only=False))
    if not len(rows):
        known = ", ".join(sorted(set(table["split"].to_pylist()))) or "none"
        raise ValueError(f"The data set in {root} has no {kind} of split {split!r}; its splits of {kind}: {known}")
    return rows


def write_tables(root: Path, images: list[dict], captions: list[dict]) -> Tables:
    """Write both tables under `root`, each whole or not at all. Raises ValueError for empty captions and bad rows."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    tables = Tables(
        root,
        pa.Table.from_pylist(images, schema=IMAGE_SCHEMA),
        pa.Table.from_pylist(captions, schema=CAPTION_SCHEMA),
    )
    _check(tables)
    for name, table in (("images", tables.images), ("captions", tables.captions)):
        temporary = root / f"{name}.parquet.partial"
        pq.write_table(table, temporary)
        temporary.replace(root / f"{name}.parquet")
    return tables


def read_tables(root: Path) -> Tables:
    """Read and check the tables under `root`. Raises FileNotFoundError when neither is there, ValueError when bad."""
    root = Path(root)
    if not any((root / f"{name}.parquet").exists() for name in ("images", "captions")):
        raise FileNotFoundError(
            f"No images.parquet or captions.parquet in {root}: run python scripts/prepare_data.py dataset={root.name}"
        )
    loaded = []
    for name, schema in (("images", IMAGE_SCHEMA), ("captions", CAPTION_SCHEMA)):
        path = root / f"{name}.parquet"
        table = pq.read_table(path) if path.exists() else schema.empty_table()
        missing = set(schema.names) - set(table.column_names)
        if missing:
            raise ValueError(f"{path} lacks the columns {sorted(missing)}; it has {table.column_names}")
        loaded.append(table.select(schema.names).cast(schema))
    tables = Tables(root, *loaded)
    _check(tables)
    return tables


def _check(tables: Tables) -> None:
    for table, key in ((tables.images, "image_id"), (tables.captions, "caption_id")):
        counts = pc.value_counts(table[key].combine_chunks())
        repeated = (
            [entry["values"].as_py() for entry in counts if entry["counts"].as_py() > 1]
            if len(counts) < len(table)
            else []
        )
        if repeated:
            raise ValueError(f"The {key} {repeated[0]!r} stands more than once in the tables of {tables.root}")
    blank = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(tables.captions["caption"], "")), "")
    empty = tables.captions["caption_id"].filter(blank).to_pylist()
    if empty:
        raise ValueError(
            f"Empty caption for caption_id {empty[0]!r} ({len(empty)} in all) in {tables.root}: remove or fill it"
        )
    rows = tables.captions["image_row"].drop_null()
    if len(rows) and (pc.min(rows).as_py() < 0 or pc.max(rows).as_py() >= len(tables.images)):
        raise ValueError(
            f"captions.parquet in {tables.root} names image_row {pc.max(rows).as_py()}, "
            f"but images.parquet has {len(tables.images)} rows"
        )
