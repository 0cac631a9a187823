"""Folders of the user: photos (or sounds, or videos) with captions in a file, or alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from common.characters import is_whole
from embedding_space.datasets.caption_files import Keys, missing_image, read_entries
from embedding_space.datasets.records import Photo, Taken, annotation_file, say
from embedding_space.datasets.sidecars import read_sidecars
from embedding_space.media import ENDINGS, MEDIA, NAMES, Medium, media_files
from embedding_space.splits import canonical_split

HUGGING_FACE = ("metadata.jsonl", "metadata.csv")


def read_captioned_folder(
    source: Path,
    captions: str | None,
    images: str,
    split: str,
    image_key: str | None,
    text_key: str | Sequence[str],
    split_key: str | None,
    medium: Medium = "image",
) -> Iterator[Photo]:
    """Photos in the order in which the captions' file first names them; an image's id is its path there.

    All captions of a photo are together, wherever the file has them.

    Args:
        source: the folder of file and photos.
        captions: a file in source, see `caption_files`; or a folder in it, or null for the photos' own, where the
            caption of a/1.jpg is in a/1.txt (img2dataset).
        images: the folder in source that the paths start from. Those in Hugging Face's metadata.jsonl or metadata.csv
            start from its own folder, unless images names another.
        split: the split of lines without one.
        image_key, text_key, split_key: the keys or columns of path, caption and split; lines may lack the last.
        medium: what the files are whose captions are beside them. A captions' file names its files, of any medium.

    Raises:
        ValueError: a line is malformed, or a photo is in two splits; the sentence names file and line.
    """
    if captions is None or (source / captions).is_dir():
        yield from read_sidecars(files_of(source / (captions or images), medium), source, split)
        return
    path = annotation_file(source, captions, "captions")
    keys, taken = Keys(image_key, text_key, split_key), Taken(path)
    named: dict[str, tuple[str, str, list[str]]] = {}  # {name: (split, its first place, captions)}
    for entry in read_entries(path, keys, taken):
        if entry.image is None:
            raise missing_image(path, entry, keys)
        name, photo_split = os.path.normpath(entry.image.strip()), entry.split or split
        first_split, first_where, texts = named.setdefault(name, (photo_split, entry.where, []))
        if canonical_split(first_split) != canonical_split(photo_split):
            raise ValueError(
                f"{path}, {entry.where}: {name} is of split {photo_split!r}, but of {first_split!r} in {first_where}: "
                "no two splits may share a photo"
            )
        texts.extend(taken.captions(entry.where, entry.captions))
    taken.photos = len(named)
    taken.tell()
    folder = path.parent if images == "." and path.name in HUGGING_FACE else source / images
    for name, (photo_split, _, texts) in named.items():
        yield Photo(PurePath(name).as_posix(), located(folder, name), photo_split, tuple(texts))


def located(folder: Path, name: str) -> Path:
    """The file `name` in `folder`; where there is none, the name is also tried as one written on Windows."""
    path = folder / name
    return folder / name.replace("\\", "/") if "\\" in name and not path.is_file() else path


def read_image_folders(source: Path, images: Mapping[str, str | None], medium: Medium = "image") -> Iterator[Photo]:
    """All pictures under each split's folder, by name, subfolders included; an image's id is its path within source.

    Args:
        images: {split: folder in source}; null leaves a split out.
        medium: "sound" or "video" takes those files in the place of pictures.
    """
    folders = {split: source / folder for split, folder in images.items() if folder is not None}
    if not folders:
        raise ValueError("No folder of photos is named: give dataset.images.train=my_photos, or val or test")
    for split, folder in folders.items():
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder} (options dataset.source and dataset.images.{split})")
        photos = files_of(folder, medium)
        if not photos:
            kind, options = NAMES[medium].removesuffix("s"), f"options dataset.images.{split} and dataset.medium"
            raise ValueError(f"There is no {kind} in {folder} ({options}): {' '.join(ENDINGS[medium])}")
        for photo in photos:
            name = photo.relative_to(source) if photo.is_relative_to(source) else photo.relative_to(folder)
            yield Photo(name.as_posix(), photo, split)


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder, see `files_of`."""
    return files_of(folder, "image")


def files_of(folder: Path, medium: Medium) -> list[Path]:
    """The pictures (or sounds, or videos) in `folder` and its subfolders, as `media_files`, without links that lead
    nowhere.

    Raises:
        ValueError: there is no such medium, or a name is not UTF-8; no table can hold it.
    """
    if medium not in MEDIA:
        raise ValueError(f"dataset.medium={medium!r} must be one of {', '.join(MEDIA)}")
    named = media_files(folder, medium)
    photos = [path for path in named if path.is_file()]
    if len(photos) < len(named):
        lost = next(path for path in named if not path.is_file())
        count = f"{len(named) - len(photos):,} {NAMES[medium]}"
        say(f"{folder}: {count} are links that lead nowhere, such as {lost}; left out")
    bad = [path for path in photos if not is_whole(str(path))]
    if bad:
        raise ValueError(
            f"{len(bad):,} {NAMES[medium]} have names that are not UTF-8; the first is {os.fsencode(bad[0])!r}: rename "
            "them (convmv -f latin1 -t utf8 does, for a whole folder)"
        )
    return photos
