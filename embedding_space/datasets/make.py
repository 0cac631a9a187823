"""make_tables: a data set's two tables, by the `kind` of its config, from the files that its options name."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common.registry import look_up
from embedding_space.datasets.audiocaps import read_audiocaps
from embedding_space.datasets.clotho import read_clotho
from embedding_space.datasets.coco import read_coco
from embedding_space.datasets.esc import read_esc
from embedding_space.datasets.flickr8k import read_flickr8k
from embedding_space.datasets.folders import read_captioned_folder, read_image_folders
from embedding_space.datasets.karpathy import read_karpathy
from embedding_space.datasets.msrvtt import read_msrvtt
from embedding_space.datasets.msvd import read_msvd
from embedding_space.datasets.records import Photo, say, things_of
from embedding_space.datasets.summary import report_tables
from embedding_space.datasets.texts import HeldOut, read_corpora, read_texts
from embedding_space.datasets.vatex import read_vatex
from embedding_space.splits import canonical_split, is_held_out
from embedding_space.tables import Tables, TableWriter, read_tables

READERS: dict[str, Callable[..., Iterator[Photo]]] = {
    "karpathy": read_karpathy,
    "coco": read_coco,
    "flickr8k": read_flickr8k,
    "captioned_folder": read_captioned_folder,
    "image_folders": read_image_folders,
    "texts": read_corpora,
    "clotho": read_clotho,
    "audiocaps": read_audiocaps,
    "esc": read_esc,
    "msrvtt": read_msrvtt,
    "msvd": read_msvd,
    "vatex": read_vatex,
}
COMMON = ("name", "root", "kind", "text_split", "image_mean_split", "pairs_split", "downloads", "by_hand")
OPTIONS = ("pairs_fraction", "missing_images", "extra_text", "text_key", "image_key", "drop_held_out")
MISSING_IMAGES = ("error", "leave_out")


def make_tables(dataset: Mapping) -> Tables:
    """Write the tables of `dataset` to its root; those there are kept when they come out the same.

    Args:
        dataset: its config. Beside `COMMON`, the keys of every data set, and the options of the reader of its `kind`:
            pairs_fraction: this share of the train images, with their captions, goes to the split `pairs`: those whose
            SHA-256 of the image id comes first, so that the choice depends on the ids alone. null: none.
        missing_images: `error`; or `leave_out`: photos that are not there are left out, their captions stay as text in
            training splits and go in held-out ones.
        extra_text: files for the split `extra`, read with `text_key` and `image_key` (see `texts.read_texts`).
        drop_held_out: leave out extra captions that a validation or test photo has too, and all about such a photo.

    Raises:
        FileNotFoundError: a source is missing. ValueError: an unknown kind or option, malformed sources, an image that
        stands twice or in two splits, or tables that differ from those that embeddings in root were made from.

    What was read is printed: files, rows, photos, captions, splits, and photos that have no caption.
    """
    options, kind, root = dict(dataset), dataset["kind"], Path(dataset["root"])
    if kind == "tables":
        tables = read_tables(root)
        report_tables(tables)
        return tables
    reader: Callable[..., Any] = look_up(kind, {"tables": read_tables, **READERS}, "kind of data set", "dataset.kind")
    accepted = inspect.signature(reader).parameters
    unknown = sorted(set(options) - {*accepted, *COMMON, *OPTIONS})
    if unknown:
        known = ", ".join([*accepted, *OPTIONS])
        raise ValueError(f"dataset.{unknown[0]} is no option of kind={kind}; known: {known}")
    arguments = {name: value for name, value in options.items() if name in accepted}
    if "source" in accepted:
        arguments["source"] = Path(arguments["source"])
    lacking = [name for name, value in accepted.items() if value.default is value.empty and name not in arguments]
    if lacking:
        raise ValueError(f"dataset={options.get('name')} of kind={kind} lacks the key {lacking[0]}")
    if (policy := options.get("missing_images", "error")) not in MISSING_IMAGES:
        raise ValueError(f"dataset.missing_images={policy!r} must be one of {', '.join(MISSING_IMAGES)}")
    photos: Iterable[Photo] = reader(**arguments)
    if options.get("pairs_fraction") is not None:
        photos = _with_pairs(list(photos), options["pairs_fraction"])
    held_out, dropped = HeldOut(), 0
    with TableWriter(root, replace="unused") as writer:
        rows = _Rows(writer)
        for photo in tqdm(photos, desc=f"tables of {options.get('name')}", unit=" entries", dynamic_ncols=True):
            if is_held_out(photo.split):
                held_out.add(photo)
            rows.add(photo)
        _report_missing(rows.missing, policy)
        keys = options.get("text_key"), options.get("image_key")
        for text in read_texts(options.get("extra_text") or (), "extra", "extra_text", *keys):
            kept = held_out.without(text) if options.get("drop_held_out", True) else text
            dropped += len(text.captions) - (len(kept.captions) if kept else 0)
            if kept:
                rows.add(kept)
        if not rows.any:
            raise ValueError(f"Nothing is left of dataset={options.get('name')}: no photo is there, and no text")
    if dropped:
        say(f"{root}: {dropped:,} extra captions that validation or test photos have too were left out")
    report_tables(writer.tables)
    return writer.tables


class _Rows:
    """Adds photos and captions to the tables. missing: (path, split) of each that is not there; any: if it added."""

    def __init__(self, writer: TableWriter):
        self.missing: list[tuple[Path, str]] = []
        self.any = False
        self._writer, self._photos = writer, {}

    def add(self, photo: Photo) -> None:
        """Add the photo, if its file is there, and its captions. Raises ValueError when its file is there under
        another id already: what is trained on might be tested on."""
        row = None
        if photo.path is not None:
            if photo.path.is_file():
                path = stored_path(photo.path, self._writer.root)
                other = self._photos.setdefault(path, photo)
                if other.image_id != photo.image_id:
                    raise ValueError(
                        f"The picture {photo.path} is there under two ids, {other.image_id!r} (split {other.split}) "
                        f"and {photo.image_id!r} (split {photo.split}): name it in one way only"
                    )
                row = self._writer.image(photo.image_id, path, photo.split)
                self.any = True
            else:
                self.missing.append((photo.path, photo.split))
                if is_held_out(photo.split):
                    return
        for number, caption in enumerate(photo.captions):
            self._writer.caption(f"{photo.image_id}#{number}", row, caption, photo.split)
            self.any = True


def stored_path(path: Path, root: Path) -> str:
    """How a table in `root` names a file.

    The name is relative when both are in one data folder, which can then be moved, and absolute otherwise.
    """
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    return Path(os.path.relpath(path, root)).as_posix() if path.is_relative_to(root.parent) else path.as_posix()


def _report_missing(missing: Sequence[tuple[Path, str]], policy: str) -> None:
    if not missing:
        return
    first, things = missing[0][0], things_of(missing[0][0])
    if policy == "error":
        folders = Counter(path.parent for path, _ in missing).most_common(3)
        where = ", ".join(f"{count:,} of those in {folder}" for folder, count in folders)
        raise FileNotFoundError(
            f"{things.capitalize()} are not there ({where}; the first: {first}): name their folder with "
            "dataset.source=... and dataset.images=..., get them as data/README.md says, or go without them with "
            "dataset.missing_images=leave_out"
        )
    splits = Counter(split for _, split in missing)
    counts = ", ".join(
        f"{count:,} of {split}{'' if is_held_out(split) else ' (whose captions stay as text)'}"
        for split, count in splits.items()
    )
    say(f"{things.capitalize()} that are not there were left out: {counts}; the first: {first}")


def _with_pairs(photos: list[Photo], fraction: float) -> Iterable[Photo]:
    """The same photos, a share of those in train moved to the split `pairs`."""
    ids = sorted(
        (photo.image_id for photo in photos if canonical_split(photo.split) == "train"),
        key=lambda image_id: hashlib.sha256(image_id.encode()).digest(),
    )
    paired = set(ids[: round(fraction * len(ids))])
    return (replace(photo, split="pairs") if photo.image_id in paired else photo for photo in photos)
