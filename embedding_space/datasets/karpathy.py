"""Karpathy's split files for COCO, Flickr30k and Flickr8k (https://cs.stanford.edu/people/karpathy/deepimagesent/)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.text_files import read_json
from embedding_space.datasets.records import (
    Photo,
    Taken,
    annotation_file,
    checked_id,
    entries_of,
    field,
    shown,
    text_field,
)

SPLITS = ("train", "restval", "val", "test")


def read_karpathy(source: Path, annotations: str, images: str, merge_restval: bool = True) -> Iterator[Photo]:
    """Photos of a `dataset_*.json`, in its order; an image's id is its `cocoid`, elsewhere its file name's stem.

    Args:
        source: the folder of the file and the photos.
        annotations: the file's name in it; annotations and images may be absolute too.
        images: the folder of the photos in it; COCO's entries add `train2014` or `val2014` (their `filepath`).
        merge_restval: COCO's split `restval` becomes train, as is usual; false leaves it a split of its own.
    """
    path = annotation_file(source, annotations, "annotations")
    taken = Taken(path)
    for number, entry in enumerate(entries_of(path, read_json(path), "images")):
        where = f"images[{number}]"
        taken.rows += 1
        split, name = field(path, where, entry, "split"), text_field(path, where, entry, "filename")
        if split not in SPLITS:
            raise ValueError(f"{path}, {where}: the split {split!r} is none of {', '.join(SPLITS)}")
        if split == "restval" and merge_restval:
            split = "train"
        sentences = field(path, where, entry, "sentences")
        if not isinstance(sentences, list):
            raise ValueError(f"{path}, {where}: `sentences` must be a list, not {shown(sentences)}")
        captions = [field(path, where, sentence, "raw") for sentence in sentences]
        image_id = checked_id(path, where, entry["cocoid"] if "cocoid" in entry else Path(name).stem)
        folder = text_field(path, where, entry, "filepath") if entry.get("filepath") else ""
        yield Photo(image_id, source / images / folder / name, split, taken.captions(where, captions))
    taken.photos = taken.rows
    taken.tell(needs_captions=False)
