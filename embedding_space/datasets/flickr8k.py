"""Flickr8k in its original files (Hodosh, Young and Hockenmaier, JAIR 2013): a token file and three lists of photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.text_files import numbered_lines
from embedding_space.datasets.caption_files import token_lines
from embedding_space.datasets.records import Photo, Taken, annotation_file

LISTS = {"train": "Flickr_8k.trainImages.txt", "val": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}


def read_flickr8k(source: Path, images: str, tokens: str = "Flickr8k.token.txt") -> Iterator[Photo]:
    """Photos in the order of the split lists, train, val (dev) and test; an image's id is its file name's stem.

    Photos in no list, 91 of the published 8,091, are left out with their captions; the five lines about
    2258277193_586949ec62.jpg(.1), a photo that was never published, are among those.

    Args:
        source: the folder of the token file and the lists (their published names).
        images: the folder of photos in it, or an absolute one.
    """
    path = annotation_file(source, tokens, "tokens")
    taken = Taken(path)
    captions: dict[str, list[str]] = {}
    for where, name, caption in token_lines(path, taken):
        captions.setdefault(name, []).extend(taken.captions(where, [caption]))
    listed: set[str] = set()
    for split, name in LISTS.items():
        names_file = annotation_file(source, name, "source")
        before = len(listed)
        for number, photo in numbered_lines(names_file):
            photo = photo.strip()
            if photo not in captions:
                raise ValueError(f"{names_file}, line {number}: {photo!r} has no caption in {path}")
            if photo in listed:
                raise ValueError(f"{names_file}, line {number}: {photo!r} is in a split list twice: remove one")
            listed.add(photo)
            yield Photo(Path(photo).stem, source / images / photo, split, tuple(captions[photo]))
        if len(listed) == before:
            raise ValueError(f"{names_file} is empty: fetch it again, see data/README.md")
    unlisted = [name for name in captions if name not in listed]
    absent = [name for name in unlisted if not (source / images / name).is_file()]
    if unlisted:
        lines = sum(len(captions[name]) for name in unlisted)
        taken.note(
            f"{lines} captions of {len(unlisted) - len(absent)} photos in no split list and of {len(absent)} photos "
            "that do not exist are left out"
        )
    taken.photos = len(listed)
    taken.tell()
