"""Reading references: the formats the field shares, named as the predictions name their images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedding_space.splits import canonical_split
from evaluation.captions.entries import EntryReader
from evaluation.captions.naming import Names, named_as, names_of
from evaluation.reading import ID_FIELDS, Entries, read_entries, shown


@dataclass(frozen=True)
class ReferenceFile:
    """What a file of references holds.

    captions: {image_id: [captions]}, at least one for each image.
    uncaptioned: ids of the images that the file names without any caption: there is nothing to score against.
    parts: {domain: [image ids]}, of images with captions, as NoCaps' file has them; {} where a file names none.
    """

    captions: dict[str, list[str]]
    uncaptioned: list[str] = field(default_factory=list)
    parts: dict[str, list[str]] = field(default_factory=dict)


def read_reference_file(path: str | Path, split: str | None = None, image_ids: Iterable[str] = ()) -> ReferenceFile:
    """References from COCO annotations (NoCaps' own with its domains), Karpathy's split files, `{"1": ["…", "…"]}`,
    pycocoevalcap's `{"1": [{"caption": "…"}]}`, or entries of a list, of JSON Lines, CSV or TSV, in which an image may
    have any number of lines; each also compressed (`.gz`).

    split: of a Karpathy file, which has `train`, `restval`, `val` and `test`; `restval` counts as `train`, as in the
        papers that use these files. None takes all images. Other formats have no splits.
    image_ids: the ids to be scored, where known. COCO annotations name an image by `id`, Karpathy files by `cocoid`,
        else `imgid`. If more of these ids are file names, with or without folders or their ending, images are named so
        instead, each by the very id that is its (`naming.named_as`).

    Raises FileNotFoundError, and ValueError naming the file and the entry when something is malformed, or when two
    images or two ids are taken for one.
    """
    content, reader = read_entries(path, "references"), EntryReader(path)
    images, karpathy = _images(reader, content, split)
    if split is not None and not karpathy:
        raise ValueError(f"{path} is no Karpathy file and has no split {split!r}: leave the split out")

    seen: set[str] = set()
    for image in images:
        if image.names[0] in seen:
            raise ValueError(f"{path}: image {image.names[0]} is there twice")
        seen.add(image.names[0])
    try:
        keys = named_as([image.names for image in images], [str(image_id) for image_id in image_ids])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    captions: dict[str, list[str]] = {}
    uncaptioned, parts = [], {}
    for key, image in zip(keys, images, strict=True):
        if not image.captions:
            uncaptioned.append(key)
            continue
        captions[key] = image.captions
        if image.domain is not None:
            parts.setdefault(image.domain, []).append(key)
    if not captions:
        why = f": image {uncaptioned[0]} must have a list of captions, not []" if uncaptioned else ""
        raise ValueError(f"{path} holds no references" + (f" for the split {split!r}" if split else "") + why)
    reader.warn_of_halves()
    return ReferenceFile(captions, uncaptioned, parts)


@dataclass(frozen=True)
class _Image:
    names: Names
    captions: list[str]
    domain: str | None = None


def _images(reader: EntryReader, content: dict[str, Any] | Entries, split: str | None) -> tuple[list[_Image], bool]:
    """The images of a file, and whether it is Karpathy's."""
    if not content:
        raise ValueError(f"{reader.path} must hold an object of references or a list of some: it holds no references")
    if not isinstance(content, dict):
        return _listed_images(reader, content), False
    if "annotations" in content:
        return _coco_images(reader, content), False
    if isinstance(content.get("images"), list) and any(isinstance(entry, dict) for entry in content["images"]):
        return _karpathy_images(reader, content["images"], split), True
    keys = [(reader.image_id(f"entry {key!r}", key), captions) for key, captions in content.items()]
    return [_Image(names_of(key, key), reader.captions(f"image {key}", captions)) for key, captions in keys], False


def _listed_images(reader: EntryReader, entries: Entries) -> list[_Image]:
    captions: dict[str, list[str]] = {}
    for where, entry in entries:
        key = reader.image_id(where, reader.field(where, entry, *ID_FIELDS))
        captions.setdefault(key, []).extend(reader.references(where, entry))
    return [_Image(names_of(key, key), texts) for key, texts in captions.items()]


def _coco_images(reader: EntryReader, content: dict[str, Any]) -> list[_Image]:
    annotations, described = content["annotations"], content.get("images", [])
    if not isinstance(annotations, list) or not isinstance(described, list):
        raise ValueError(f"{reader.path}: `annotations` and `images` must be lists")
    names: dict[str, Names] = {}
    domains: dict[str, str | None] = {}
    for n, image in enumerate(described):
        where = f"images[{n}]"
        key = reader.image_id(where, reader.field(where, image, "id"))
        if key in names:
            raise ValueError(f"{reader.path}, {where}: image {key} is there twice")
        names[key] = names_of(key, image.get("file_name"))
        domains[key] = image.get("domain")
        if not isinstance(domains[key], str | None):
            raise reader.error(where, f": a domain must be a string, not {shown(domains[key])}")
    captions: dict[str, list[str]] = {key: [] for key in names}  # in the order of `images`, as COCOEvalCap goes
    for n, annotation in enumerate(annotations):
        where = f"annotations[{n}]"
        key = reader.image_id(where, reader.field(where, annotation, "image_id"))
        captions.setdefault(key, []).append(reader.caption(where, reader.field(where, annotation, "caption")))
    return [_Image(names.get(key, names_of(key)), texts, domains.get(key)) for key, texts in captions.items()]


def _karpathy_images(reader: EntryReader, entries: list[Any], split: str | None) -> list[_Image]:
    images: list[_Image] = []
    splits = set()
    for n, image in enumerate(entries):
        where = f"images[{n}]"
        part = reader.field(where, image, "split")
        if not isinstance(part, str):
            raise reader.error(where, f": a split must be a string, not {shown(part)}")
        part = _part_of(part)
        splits.add(part)
        if split is not None and part != _part_of(split):
            continue
        image_id = image["cocoid"] if "cocoid" in image else reader.field(where, image, "imgid")
        sentences = reader.field(where, image, "sentences")
        if not isinstance(sentences, list):
            raise reader.error(where, f": `sentences` must be a list, not {shown(sentences)}")
        names = names_of(reader.image_id(where, image_id), image.get("filename"))
        texts = [reader.caption(where, reader.field(where, sentence, "raw")) for sentence in sentences]
        images.append(_Image(names, texts))
    if split is not None and not images and splits:
        raise ValueError(f"{reader.path} has no split {split!r}: it has {', '.join(sorted(splits))}")
    return images


def _part_of(split: str) -> str:
    """The split by its canonical name; restval is train."""
    return "train" if canonical_split(split) == "restval" else canonical_split(split)
