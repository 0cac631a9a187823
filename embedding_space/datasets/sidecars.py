"""Photos whose captions are in files beside them, as img2dataset writes: 00000/000000123.jpg, .txt and .json."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.text_files import lines_of, read_json
from embedding_space.datasets.records import Photo, Taken

SIDECARS = (".txt", ".json")


def read_sidecars(photos: Sequence[Path], source: Path, split: str) -> Iterator[Photo]:
    """Each photo with its caption: the `caption` in its .json, else its .txt; an image's id is its path within source.

    A photo without such files has no caption. Texts without a photo, which img2dataset leaves where a download failed,
    are left out and counted.

    Raises:
        ValueError: two pictures share one text; a .txt without a .json has several lines, which may be one caption or
            several; or a .txt and a .json differ.
    """
    if not photos:
        raise ValueError(
            f"There is no picture in {source}, or whatever dataset.medium is (options dataset.source and "
            "dataset.captions)"
        )
    folder = Path(os.path.commonpath([photo.parent for photo in photos]))
    taken = Taken(folder)
    by_stem: dict[Path, Path] = {}
    for photo in photos:
        other = by_stem.setdefault(photo.with_suffix(""), photo)
        if other != photo:
            raise ValueError(f"{other} and {photo.name} are two files of one name, and share their caption's file")
    for photo in photos:
        taken.rows += 1
        texts = _captions(photo, taken)
        name = photo.relative_to(source) if photo.is_relative_to(source) else photo
        yield Photo(name.as_posix(), photo, split, texts)
    alone = sorted(text for text in folder.rglob("*.txt") if text.with_suffix("") not in by_stem)
    if alone:
        taken.note(f"{len(alone):,} texts without a picture are left out, such as {alone[0]}")
    taken.photos = len(photos)
    taken.read("caption", "the .json or .txt beside each picture")
    taken.tell()


def _captions(photo: Path, taken: Taken) -> tuple[str, ...]:
    text, about = (photo.with_suffix(ending) for ending in SIDECARS)
    lines = [line for _, line in lines_of(text, returns_inside=True) if line.strip()] if text.is_file() else []
    if about.is_file():
        content = read_json(about)
        caption = content.get("caption") if isinstance(content, dict) else None
        if isinstance(caption, str):
            texts = taken.captions("caption", [caption])
            if lines and " ".join(" ".join(lines).split()) != " ".join(texts):
                raise ValueError(f"{text} and the caption in {about.name} say different things: remove one of them")
            return texts
        if caption is not None:
            raise ValueError(f"{about}: the caption must be text, not {ascii(caption)[:60]}")
    if len(lines) > 1:
        raise ValueError(
            f"{text} has {len(lines)} lines, which may be one caption or several: put one caption on one line, or "
            "several in a file for all photos, see data/README.md"
        )
    return taken.captions(str(text), lines)
