"""Clotho: sounds of 15 to 30 seconds with five captions each (Drossos, Lipping and Virtanen, ICASSP 2020,
arXiv 1910.09387; files: https://zenodo.org/records/4783391)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from common.csv_files import table_rows
from embedding_space.datasets.records import Photo, Taken, annotation_file, field, files_by_split, text_field

CAPTION = re.compile(r"caption_(\d+)")


def read_clotho(
    source: Path, annotations: Mapping[str, str | None], images: Mapping[str, str | None] | None
) -> Iterator[Photo]:
    """Sounds split by split, in their files' order; a sound's id is its path within `source`.

    Args:
        source: the folder of the files and of the folders of sounds.
        annotations: {split: CSV in source} with the columns file_name and caption_1 ... caption_5; null leaves a split
            out. Version 1 has no validation split.
        images: {split: folder of its sounds in source}; null, of a split or of all, takes the captions alone.
    """
    files = files_by_split(annotations, "clotho_captions_validation.csv")
    folders = dict.fromkeys(files) if images is None else images
    for split, file in files.items():
        if not isinstance(folders, Mapping) or split not in folders:
            raise ValueError(f"dataset.images.{split} is missing: name the folder of the sounds of {file}, or null")
        folder, path = folders[split], annotation_file(source, file, f"annotations.{split}")
        taken, seen = Taken(path, "sounds"), set[str]()
        for where, row in table_rows(path, ("file_name",)):
            taken.rows += 1
            name = text_field(path, where, row, "file_name")
            if name in seen:
                raise ValueError(f"{path}, {where}: {name} is there twice: remove one")
            seen.add(name)
            columns = sorted(filter(CAPTION.fullmatch, row), key=lambda column: int(column.removeprefix("caption_")))
            captions = [field(path, where, row, column) for column in columns or ["caption_1"]]
            sound = None if folder is None else source / folder / name
            yield Photo(f"{folder or split}/{name}", sound, split, taken.captions(where, captions))
        taken.photos = len(seen)
        taken.tell()
