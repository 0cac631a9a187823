"""A data set's two tables: images.parquet and captions.parquet, one row per image or caption."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.arrow import compute as pc
from common.files import whole_file
from embedding_space.errors import MissingTables
from embedding_space.splits import canonical_split, is_of_split, split_names

IMAGE_SCHEMA = pa.schema([("image_id", pa.string()), ("path", pa.string()), ("split", pa.string())])
CAPTION_SCHEMA = pa.schema(
    [("caption_id", pa.string()), ("image_row", pa.int64()), ("caption", pa.string()), ("split", pa.string())]
)
SCHEMAS = {"images": IMAGE_SCHEMA, "captions": CAPTION_SCHEMA}
ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Tables:
    """The tables of one data set; either may be empty (text-only corpora, plain image folders).

    Attributes:
        images: `image_id`, `path` (relative to `root`), `split`.
        captions: `caption_id`, `image_row` (null for text without an image), `caption`, `split`.

    Wherever a split is named, `a+b` is the union of the splits a and b, and `a` includes its parts `a/…` (NoCaps:
    `val` is `val/in-domain`, `val/near-domain` and `val/out-domain`), all in table order. `train`, `val` and
    `test` include what is marked with another spelling of them (`Test`, `testing`), see `splits.canonical_split`.

    Attributes:
        left_out: rows of images that no split is to have, nor their captions: those that could not be read.
    """

    root: Path
    images: pa.Table
    captions: pa.Table
    left_out: frozenset[int] = frozenset()

    @property
    def hash(self) -> str:
        """SHA-256 over both tables' contents; stores record it, so that rows and embeddings cannot drift apart."""
        digest = hashlib.sha256()
        for table in (self.images, self.captions):
            for column in table.columns:
                for start in range(0, len(column), ROWS_AT_ONCE):
                    digest.update(_closed_values(column.slice(start, ROWS_AT_ONCE)))
        return digest.hexdigest()

    def image_rows(self, split: str) -> np.ndarray:
        """Row numbers (int64) of the images of `split`."""
        rows = np.flatnonzero(_mask(self.images, split, "images", self.root))
        return rows[~np.isin(rows, list(self.left_out))] if self.left_out else rows

    def caption_rows(self, split: str) -> np.ndarray:
        """Row numbers (int64) of the captions of `split`."""
        mask = _mask(self.captions, split, "captions", self.root)
        if self.left_out:
            mask = mask & ~pc.is_in(self.captions["image_row"], pa.array(self.left_out, pa.int64())).to_numpy()
        return np.flatnonzero(mask)

    def rows_of_texts(self, splits: Sequence[str] | None) -> np.ndarray:
        """Row numbers (int64) of the captions of any of these splits; None for all captions."""
        return np.arange(len(self.captions)) if splits is None else self.caption_rows("+".join(splits))

    def has(self, kind: str, split: str | None) -> bool:
        """Whether there are `images` or `captions` (the kind) of every split that the expression `split` names."""
        return split is not None and not _unknown(getattr(self, kind), split)[0]

    def parts(self, split: str) -> list[str]:
        """The parts, such as `val/in-domain`, that images of `split` belong to, in table order; [] if it has none."""
        rows = pa.array(self.image_rows(split))
        return [name for name in pc.unique(self.images["split"].take(rows)).to_pylist() if "/" in name]

    def image_paths(self, rows: np.ndarray) -> list[Path]:
        """Absolute or root-relative paths of these image rows."""
        return [self.root / path for path in self.images["path"].take(pa.array(rows)).to_pylist()]

    def pairs(self, split: str) -> np.ndarray:
        """(M,) int64: for each caption of `split`, the position of its image among the images of `split`.

        Raises:
            ValueError: a caption of the split has no image there.
        """
        wanted = self.captions["image_row"].take(pa.array(self.caption_rows(split)))
        if wanted.null_count:
            raise ValueError(f"Split {split!r} of {self.root} holds captions without images; it has no pairs")
        image_rows, wanted = self.image_rows(split), wanted.to_numpy()
        positions = np.searchsorted(image_rows, wanted).clip(max=len(image_rows) - 1)
        if (image_rows[positions] != wanted).any():
            raise ValueError(f"Captions of split {split!r} of {self.root} belong to images of another split")
        return positions

    def image_groups(self, split: str) -> np.ndarray:
        """(M,) int64 from 0 without gaps: a number per caption of `split`, shared by an image's captions; a caption
        without an image has a unique one."""
        image_rows = self.captions["image_row"].take(pa.array(self.caption_rows(split)))
        image_rows = pc.fill_null(image_rows, -1).to_numpy().copy()
        alone = image_rows < 0
        image_rows[alone] = len(self.images) + np.arange(alone.sum())
        return np.unique(image_rows, return_inverse=True)[1]

    def references(self, split: str) -> dict[str, list[str]]:
        """{image_id: [captions]} of every image of `split`: its captions of that split, all in table order."""
        rows = self.image_rows(split)
        ids = self.images["image_id"].take(pa.array(rows)).to_pylist()
        by_row: dict[int, list[str]] = {int(row): [] for row in rows}
        _, chosen = _unknown(self.captions, split)
        splits = pa.array(chosen, pa.string())  # none, where the images of the split have no captions
        is_reference = pc.and_(
            pc.is_in(self.captions["image_row"], pa.array(rows)), pc.is_in(self.captions["split"], splits)
        )
        captions = self.captions.filter(is_reference)
        for row, caption in zip(captions["image_row"].to_pylist(), captions["caption"].to_pylist(), strict=True):
            by_row[row].append(caption)
        return {image_id: by_row[int(row)] for image_id, row in zip(ids, rows, strict=True)}


def _unknown(table: pa.Table, split: str) -> tuple[list[str], list[str]]:
    """The names in the expression `split` without rows in the table, and the values of its split column that the other
    names mean."""
    there = [value for value in pc.unique(table["split"]).to_pylist() if value is not None]
    names = split_names(split)
    unknown = [name for name in names if not any(is_of_split(value, name) for value in there)]
    return unknown, [value for value in there if any(is_of_split(value, name) for name in names)]


def _mask(table: pa.Table, split: str, kind: str, root: Path) -> np.ndarray:
    unknown, chosen = _unknown(table, split)
    if unknown:
        known = ", ".join(sorted(pc.unique(table["split"]).to_pylist())) or "none"
        raise ValueError(f"The data set in {root} has no {kind} of split {unknown[0]!r}; its splits of {kind}: {known}")
    return pc.is_in(table["split"], pa.array(chosen)).to_numpy()


def _closed_values(column: pa.ChunkedArray) -> bytes | memoryview:
    """The values as UTF-8, each followed by the unit separator, None for null."""
    text = pc.fill_null(pc.cast(column.combine_chunks(), pa.large_string()), "None")
    closed = pc.binary_join_element_wise(text, pa.scalar("", pa.large_string()), pa.scalar("\x1f", pa.large_string()))
    _, offsets, data = closed.buffers()
    offsets = np.frombuffer(offsets, np.int64)[closed.offset : closed.offset + len(closed) + 1]
    return memoryview(data)[offsets[0] : offsets[-1]] if data is not None else b""


class TableWriter:
    """Writes both tables row by row in constant memory; leaving the `with` block checks them and puts them in place.

    `with TableWriter(root) as writer: row = writer.image(...); writer.caption(..., image_row=row)`. Earlier tables
    stay when the block ends with an error.

    Args:
        replace: which earlier tables may be replaced by others: "any"; "unused" ones, which no embeddings in `root`
            were made from; or "none".

    Attributes:
        tables: the new tables, after the block.
    """

    tables: Tables

    def __init__(self, root: Path | str, replace: Literal["any", "unused", "none"] = "any"):
        self.root, self._replace = Path(root), replace
        self._rows: dict[str, list[dict]] = {name: [] for name in SCHEMAS}
        self._images = 0
        self._files = ExitStack()
        self._paths = {name: self._files.enter_context(whole_file(self.root / f"{name}.parquet")) for name in SCHEMAS}
        self._writers = {
            name: self._files.enter_context(pq.ParquetWriter(path, SCHEMAS[name])) for name, path in self._paths.items()
        }

    def image(self, image_id: str, path: str, split: str) -> int:
        """Add an image; returns its row."""
        self._add("images", {"image_id": image_id, "path": path, "split": split})
        self._images += 1
        return self._images - 1

    def caption(self, caption_id: str, image_row: int | None, caption: str, split: str) -> None:
        """Add a caption; `image_row` is None for text without an image."""
        self._add("captions", {"caption_id": caption_id, "image_row": image_row, "caption": caption, "split": split})

    def _add(self, name: str, row: dict) -> None:
        for column, value in row.items():
            if isinstance(value, str) and not value.isascii():
                _check_utf8(name, column, value, row)
        rows = self._rows[name]
        rows.append(row)
        if len(rows) >= ROWS_AT_ONCE:
            self._flush(name)

    def _flush(self, name: str) -> None:
        self._writers[name].write_table(pa.Table.from_pylist(self._rows[name], schema=SCHEMAS[name]))
        self._rows[name] = []

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind, *error) -> None:
        if kind is not None:
            self._files.__exit__(kind, *error)
            return
        with self._files:
            self.tables = self._checked()

    def _checked(self) -> Tables:
        """What was written. Raises ValueError for empty captions, bad rows, and when it would replace what it must
        not."""
        for name, writer in self._writers.items():
            self._flush(name)
            writer.close()
        tables = Tables(self.root, *map(pq.read_table, self._paths.values()))
        _check(tables)
        if self._replace != "any":
            self._check_replaced(tables)
        return tables

    def _check_replaced(self, tables: Tables) -> None:
        stores = ", ".join(sorted(manifest.parent.name for manifest in self.root.glob("*/manifest.json")))
        there = any((self.root / f"{name}.parquet").exists() for name in SCHEMAS)
        if there and (stores or self._replace == "none") and read_tables(self.root).hash != tables.hash:
            raise ValueError(
                f"{self.root} holds {f'embeddings ({stores}) of ' if stores else ''}other tables than these sources "
                f"and options give: choose another dataset.root=..., or delete {self.root}"
            )


def _check_utf8(name: str, column: str, value: str, row: dict) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        key = next(iter(row.values()))
        raise ValueError(
            f"The {column} of {key!a} cannot be written to {name}.parquet: {value[:80]!a} holds half a character (a "
            "lone surrogate), as file names that are not UTF-8 do; correct it, or rename the file"
        ) from error


def write_tables(root: Path, images: Iterable[dict], captions: Iterable[dict]) -> Tables:
    """Write both tables under `root`, each whole or not at all. Rows may come from generators, read in batches.

    Raises:
        ValueError: a caption is empty, or a row is bad.
    """
    with TableWriter(root) as writer:
        for row in images:
            writer.image(**row)
        for row in captions:
            writer.caption(**row)
    return writer.tables


def read_tables(root: Path) -> Tables:
    """Read and check the tables under `root`. Raises MissingTables when neither is there, ValueError when bad."""
    root = Path(root)
    if not any((root / f"{name}.parquet").exists() for name in SCHEMAS):
        raise MissingTables(root)
    loaded = []
    for name, schema in SCHEMAS.items():
        path = root / f"{name}.parquet"
        try:
            table = pq.read_table(path) if path.exists() else schema.empty_table()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is damaged or no Parquet file ({error}): write it again") from error
        missing = set(schema.names) - set(table.column_names)
        if missing:
            raise ValueError(f"{path} lacks the columns {sorted(missing)}; it has {table.column_names}")
        try:
            loaded.append(table.select(schema.names).cast(schema))
        except pa.ArrowException as error:
            types = ", ".join(f"{column.name} {column.type}" for column in schema)
            raise ValueError(f"{path} has a column of another type than {types} ({error})") from error
    tables = Tables(root, *loaded)
    _check(tables)
    return tables


def _check(tables: Tables) -> None:
    for name, table, key in (("images", tables.images, "image_id"), ("captions", tables.captions, "caption_id")):
        for split in pc.unique(table["split"].drop_null()).to_pylist():
            try:
                canonical_split(split)
            except ValueError as error:
                raise ValueError(f"{tables.root / name}.parquet: {error}") from error
        for column in set(SCHEMAS[name].names) - {"image_row", "caption"}:
            if table[column].null_count:
                raise ValueError(f"A row of {name}.parquet in {tables.root} has no {column}")
        if pc.count_distinct(table[key]).as_py() < len(table):
            counts = pc.value_counts(table[key])
            repeated = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
            splits = pc.unique(table["split"].filter(pc.equal(table[key], repeated))).to_pylist()
            raise ValueError(
                f"The {key} {repeated.as_py()!r} occurs more than once in the tables of {tables.root} "
                f"(split {' and '.join(splits)}): ids must be unique, and no two splits may share an image"
            )
    if pc.any(pc.equal(pc.utf8_trim_whitespace(tables.images["image_id"]), "")).as_py():
        raise ValueError(f"An image in images.parquet in {tables.root} has a blank image_id: give it one")
    blank = pc.equal(pc.utf8_trim_whitespace(pc.fill_null(tables.captions["caption"], "")), "")
    if pc.any(blank).as_py():
        empty = tables.captions["caption_id"].filter(blank)
        raise ValueError(
            f"Empty caption for caption_id {empty[0].as_py()!r} ({len(empty)} in all) in {tables.root}: remove or "
            "fill it"
        )
    rows = tables.captions["image_row"].drop_null()
    if len(rows) and (pc.min(rows).as_py() < 0 or pc.max(rows).as_py() >= len(tables.images)):
        raise ValueError(
            f"captions.parquet in {tables.root} names image_row {pc.max(rows).as_py()}, "
            f"but images.parquet has {len(tables.images)} rows"
        )
