"""COCO's own annotation files, `captions_*.json`, and NoCaps', which has their format and a domain for each image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from embedding_space.datasets.records import Photo, annotation_file, cleaned, entries_of, field, read_json


def read_coco(source: Path, annotations: Mapping[str, str | None], images: Mapping[str, str | None]) -> Iterator[Photo]:
    """Photos split by split, in their files' order; an image's id is its `id`. A file without captions is allowed.

    Images with a `domain` (NoCaps: in-domain, near-domain, out-domain) form the parts `val/in-domain` … of their split.

    Args:
        source: the folder of files and photos.
        annotations: {split: file name in source}; null leaves a split out.
        images: {split: folder of its photos in source}.
    """
    files = {split: file for split, file in annotations.items() if file is not None}
    if not files:
        raise ValueError("No annotations are named: give dataset.annotations.val=captions_val.json, or train or test")
    for split, file in files.items():
        if images.get(split) is None:
            raise ValueError(f"dataset.images.{split} is missing: name the folder of the photos of {file}")
        path = annotation_file(source, file, f"annotations.{split}")
        content = read_json(path)
        captions: dict = defaultdict(list)
        for number, entry in enumerate(content.get("annotations", []) if isinstance(content, dict) else []):
            where = f"annotations[{number}]"
            captions[field(path, where, entry, "image_id")].append(field(path, where, entry, "caption"))
        for number, entry in enumerate(entries_of(path, content, "images")):
            where = f"images[{number}]"
            image_id = field(path, where, entry, "id")
            part = f"{split}/{entry['domain']}" if entry.get("domain") else split
            photo = source / images[split] / field(path, where, entry, "file_name")
            yield Photo(str(image_id), photo, part, cleaned(path, captions.pop(image_id, ()), where))
        if captions:
            raise ValueError(f"{path} has captions of image {next(iter(captions))!r}, which its list `images` lacks")
