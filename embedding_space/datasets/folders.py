"""Folders of one's own: photos with captions in a JSONL or CSV file, or photos alone."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from embedding_space.datasets.records import Photo, annotation_file, cleaned, field, json_lines, utf8_text

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def read_captioned_folder(
    source: Path, captions: str, images: str, split: str, image_key: str, text_key: str, split_key: str
) -> Iterator[Photo]:
    """Photos in the order of the captions' file; an image's id is its path there. Never holds more than one photo.

    Args:
        source: the folder of file and photos.
        captions: `.jsonl` (one object a line), `.csv` or `.tsv` (with a header), in source. A line has one caption, or
            in JSONL a list; several lines about one photo stand one after the other.
        images: the folder in source that the paths start from.
        split: the split of lines without one.
        image_key, text_key, split_key: the keys or columns of path, caption and split; lines may lack the last.
    """
    path = annotation_file(source, captions, "captions")
    read = json_lines if path.suffix == ".jsonl" else _table_lines
    lines = (
        (str(field(path, where, entry, image_key)), entry.get(split_key) or split, where, entry)
        for where, entry in read(path)
    )
    for (name, own_split), group in groupby(lines, key=lambda line: line[:2]):
        texts: list[str] = []
        for _, _, where, entry in group:
            given = field(path, where, entry, text_key)
            texts.extend(cleaned(path, given if isinstance(given, list) else [given], where))
        yield Photo(name, source / images / name, own_split, tuple(texts))


def _table_lines(path: Path) -> Iterator[tuple[str, dict]]:
    if path.suffix not in (".csv", ".tsv"):
        raise ValueError(f"dataset.captions={path.name} must end in .jsonl, .csv or .tsv")
    with utf8_text(path, newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        try:
            for row in reader:
                yield f"line {reader.line_num}", row
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.reader.line_num} is no {path.suffix[1:].upper()}: {error}"
            ) from error


def read_image_folders(source: Path, images: Mapping[str, str | None]) -> Iterator[Photo]:
    """All pictures under each split's folder, by name, subfolders included; an image's id is its path within source.

    images: {split: folder in source}; null leaves a split out.
    """
    folders = {split: source / folder for split, folder in images.items() if folder is not None}
    if not folders:
        raise ValueError("No folder of photos is named: give dataset.images.train=my_photos, or val or test")
    for split, folder in folders.items():
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder} (options dataset.source and dataset.images.{split})")
        photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
        if not photos:
            raise ValueError(f"There is no picture in {folder} (option dataset.images.{split}): {IMAGE_ENDINGS}")
        for photo in photos:
            name = photo.relative_to(source) if photo.is_relative_to(source) else photo.relative_to(folder)
            yield Photo(name.as_posix(), photo, split)
