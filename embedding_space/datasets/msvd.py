"""MSVD, the Microsoft Research Video Description Corpus: short YouTube clips with about forty English captions each
(Chen and Dolan, ACL 2011; files: https://www.cs.utexas.edu/~ml/clamp/videoDescription/)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from common.text_files import numbered_lines
from embedding_space.datasets.clips import Clips
from embedding_space.datasets.records import Photo, Taken, annotation_file, files_by_split

LINE = re.compile(r"(?P<clip>\S+_\d+_\d+)\s+(?P<caption>.*\S)")
MAPPED = re.compile(r"(?P<clip>\S+)\s+vid(?P<number>\d+)")
LAST = {"train": 1200, "val": 1300, "test": 1970}  # the number of each split's last clip (Venugopalan et al. 2015)


def read_msvd(
    source: Path, annotations: str, images: str | None, lists: Mapping[str, str | None], mapping: str | None = None
) -> Iterator[Photo]:
    """Clips in the order of the split lists; an id is the clip's name, `<YouTube's id>_<start>_<end>`.

    Args:
        source: the folder of the files and of the clips.
        annotations: lines of a clip's name, a blank and a caption (AllVideoDescriptions.txt); lines before the first
            such one, and those that begin with #, are a header.
        images: the folder of the clips, subfolders included; null takes the captions alone.
        lists: {split: file of one clip's name a line}, as in CLIP4Clip's data; null leaves a split out.
        mapping: takes the place of `lists`: lines of a clip's name and vid1 ... vid1970
            (https://github.com/yaoli/arctic-capgen-vid, youtube_mapping.txt). The first 1,200 are train, the next 100
            val, and 670 test.

    Raises:
        ValueError: a line has another form, or a clip is in two lists or has no caption.
    """
    path = annotation_file(source, annotations, "annotations")
    taken, captions = Taken(path, "videos"), dict[str, list[str]]()
    for number, line in numbered_lines(path):
        parts = LINE.fullmatch(line.strip())
        if parts is None or line.startswith("#"):
            if captions and not line.startswith("#"):
                raise ValueError(f"{path}, line {number} must read <clip>_<start>_<end>, a blank and the caption")
            continue
        taken.rows += 1
        captions.setdefault(parts["clip"], []).extend(taken.captions(f"line {number}", [parts["caption"]]))
    clips = Clips(source, images, "video")
    split_of = _listed(source, lists) if mapping is None else _mapped(annotation_file(source, mapping, "mapping"))
    for clip, split in split_of.items():
        if clip not in captions:
            raise ValueError(f"The clip {clip} of split {split} has no caption in {path}")
        yield Photo(clip, clips.find([clip]), split, tuple(captions[clip]))
    unlisted = len(captions.keys() - split_of)
    if unlisted:
        taken.note(f"{unlisted:,} videos in no split are left out with their captions")
    taken.photos = len(split_of)
    taken.tell()
    clips.check()


def _listed(source: Path, lists: Mapping[str, str | None]) -> dict[str, str]:
    """{clip: its split} of a list for each split."""
    split_of: dict[str, str] = {}
    for split, file in files_by_split(lists, "val_list.txt", "lists").items():
        path = annotation_file(source, file, f"lists.{split}")
        for number, line in numbered_lines(path):
            clip = line.strip().removesuffix(".avi")
            if clip in split_of:
                raise ValueError(f"{path}, line {number}: {clip} is there twice, first in {split_of[clip]}: remove one")
            split_of[clip] = split
    return split_of


def _mapped(path: Path) -> dict[str, str]:
    """{clip: its split} by the clips' numbers, in the order of the file."""
    split_of: dict[str, str] = {}
    for number, line in numbered_lines(path):
        parts = MAPPED.fullmatch(line.strip())
        split = next((split for split, last in LAST.items() if parts and 1 <= int(parts["number"]) <= last), None)
        if parts is None or split is None:
            raise ValueError(f"{path}, line {number} must read <clip> and vid1 to vid1970, not {line.strip()[:60]!r}")
        if parts["clip"] in split_of:
            raise ValueError(f"{path}, line {number}: {parts['clip']} is there twice: remove one")
        split_of[parts["clip"]] = split
    return split_of
