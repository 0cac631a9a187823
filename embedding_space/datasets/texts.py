"""Text-only corpora, in any format of `caption_files`; extra text that repeats held-out data is dropped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from embedding_space.datasets.caption_files import Keys, read_entries
from embedding_space.datasets.records import Photo, Taken
from embedding_space.media import medium_of
from embedding_space.splits import is_held_out


def read_corpora(
    texts: Mapping[str, str | Sequence[str] | None],
    text_key: str | Sequence[str] | None = None,
    image_key: str | None = None,
) -> Iterator[Photo]:
    """Text-only corpora, split by split: `texts` is {split: files}, read as `read_texts` does."""
    if not any(texts.values()):
        raise ValueError(
            "No text is named: give dataset.texts.train=[captions.txt], and dataset.texts.val to validate on"
        )
    for split, files in texts.items():
        yield from read_texts(files or (), split, f"texts.{split}", text_key, image_key)


def read_texts(
    files: str | Iterable[str], split: str, option: str, text_key: str | Sequence[str] | None, image_key: str | None
) -> Iterator[Photo]:
    """Each entry of the files as a Photo without a path, its id `<file name without ending>:<line number>`.

    Entries that the file itself marks as validation or test text (a key or column `split`) are left out of other
    splits, and counted.

    Args:
        files: one or several, see `caption_files`.
        option: what set `files`, for messages.
        text_key: key or column of the caption, or of the list of captions; or several.
        image_key: key or column of the image's id or file name, by which held-out images are recognized; may be absent.
    """
    stems: set[str] = set()
    for file in map(Path, [files] if isinstance(files, str) else files):
        if not file.is_file():
            raise FileNotFoundError(f"There is no {file} (option dataset.{option}): one caption per line, or JSONL")
        stem = Path(re.sub(r"\.gz$", "", file.name, flags=re.IGNORECASE)).stem
        if stem in stems:
            raise ValueError(f"dataset.{option} names two files called {stem}: rename one, for ids begin with it")
        stems.add(stem)
        taken, marked = Taken(file), 0
        for entry in read_entries(file, Keys(image_key, text_key), taken):
            if entry.split is not None and is_held_out(entry.split) and not is_held_out(split):
                marked += 1
                continue
            number = re.fullmatch(r"(?:line |entry |annotations\[)(\d+)\]?", entry.where)
            captions = taken.captions(entry.where, entry.captions)
            yield Photo(f"{stem}:{number[1] if number else entry.image}", None, split, captions, entry.image)
        if marked:
            taken.note(f"{marked:,} entries that the file marks as validation or test text are left out of {split!r}")
        taken.tell()


class HeldOut:
    """Photos and captions of validation and test, so that text from elsewhere that repeats them can be left out."""

    def __init__(self):
        self._photos: set[str] = set()
        self._captions: set[str] = set()

    def add(self, photo: Photo) -> None:
        """Hold out the photo and its captions."""
        name = photo.path.name if photo.path else photo.about
        if name is not None:
            self._photos.add(photo_number(name))
        self._captions |= {_words(caption) for caption in photo.captions}

    def without(self, text: Photo) -> Photo | None:
        """`text` without held-out captions, letter case and punctuation aside; None when it describes a held-out photo
        or when nothing is left."""
        if text.about is not None and photo_number(text.about) in self._photos:
            return None
        kept = tuple(caption for caption in text.captions if _words(caption) not in self._captions)
        return replace(text, captions=kept) if kept else None


def photo_number(name: str) -> str:
    """What a photo is called by every data set: COCO's and Flickr's number, or else the file name without its ending.

    COCO_val2014_000000391895.jpg, 000000391895.jpg and 391895 are the same, so are Flickr8k's
    1007129816_e794419615.jpg and Flickr30k's 1007129816.jpg.
    """
    stem = Path(name).stem if medium_of(name) else name
    number = re.fullmatch(r"(?:COCO_\w+?20\d\d_)?0*(\d+)(?:_[0-9a-f]{10})?", stem)
    return number[1] if number else stem


def _words(caption: str) -> str:
    return " ".join(re.findall(r"\w+", caption.lower()))
