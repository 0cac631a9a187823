"""The annotation files of COCO, `captions_*.json`, and of NoCaps, which have a domain for each image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from common.text_files import read_json
from embedding_space.datasets.records import (
    Photo,
    Taken,
    annotation_file,
    checked_id,
    checked_split,
    entries_of,
    field,
    files_by_split,
    text_field,
)


def read_coco(source: Path, annotations: Mapping[str, str | None], images: Mapping[str, str | None]) -> Iterator[Photo]:
    """Photos split by split, in their files' order; an image's id is its `id`. A file without captions is allowed.

    Images with a `domain` (NoCaps: in-domain, near-domain, out-domain) form parts of their split: `val/in-domain` …

    Args:
        source: the folder of files and photos.
        annotations: {split: file name in source}; null leaves a split out.
        images: {split: folder of its photos in source}.
    """
    for split, file in files_by_split(annotations, "captions_val.json").items():
        folder = images.get(split)
        if folder is None:
            raise ValueError(f"dataset.images.{split} is missing: name the folder of the photos of {file}")
        path = annotation_file(source, file, f"annotations.{split}")
        content, taken = read_json(path), Taken(path)
        captions = _captions(path, content)
        seen: set[str] = set()
        for number, entry in enumerate(entries_of(path, content, "images")):
            where = f"images[{number}]"
            taken.rows += 1
            image_id = checked_id(path, where, field(path, where, entry, "id"))
            if image_id in seen:
                raise ValueError(f"{path}, {where}: image {image_id} occurs twice: ids must be unique")
            seen.add(image_id)
            domain = text_field(path, where, entry, "domain") if entry.get("domain") else None
            part = checked_split(path, where, f"{split}/{domain}" if domain else split)
            photo = source / folder / text_field(path, where, entry, "file_name")
            yield Photo(image_id, photo, part, taken.captions(where, captions.pop(image_id, ())))
        if captions:
            raise ValueError(f"{path} has captions of image {next(iter(captions))}, which its list `images` lacks")
        taken.photos = len(seen)
        taken.tell(needs_captions=False)


def _captions(path: Path, content: object) -> dict[str, list]:
    """{image id: its captions}, none for a file without annotations."""
    captions: dict[str, list] = {}
    without = not isinstance(content, dict) or content.get("annotations") is None
    for number, entry in enumerate([] if without else entries_of(path, content, "annotations")):
        where = f"annotations[{number}]"
        image_id = checked_id(path, where, field(path, where, entry, "image_id"))
        captions.setdefault(image_id, []).append(field(path, where, entry, "caption"))
    return captions
