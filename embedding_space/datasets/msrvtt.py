"""MSR-VTT: videos of 10 to 30 seconds with twenty captions each (Xu, Mei, Yao and Rui, CVPR 2016). Its files,
`train_val_videodatainfo.json` and `test_videodatainfo.json`, are those of the MSR Video to Language Challenge 2016
(http://ms-multimedia-challenge.com/2016/dataset)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from common.registry import look_up
from common.text_files import read_json
from embedding_space.datasets.clips import Clips
from embedding_space.datasets.records import (
    Photo,
    Taken,
    annotation_file,
    entries_of,
    field,
    files_by_split,
    text_field,
)

SPLITS = {"train": "train", "validate": "val", "test": "test"}


def read_msrvtt(
    source: Path, annotations: Mapping[str, str | None], images: str | None, merge_validate: bool = False
) -> Iterator[Photo]:
    """Videos file by file, in the files' order; a video's id is its `video_id`, such as video7010.

    Args:
        source: the folder of the files and of the videos.
        annotations: {any name: file in source}; the videos' splits are in the files. null leaves a file out.
        images: the folder of the videos in source, subfolders included; null takes the captions alone.
        merge_validate: the split `validate` becomes train, as in C³'s code; false: val.

    Raises:
        ValueError: a video is listed twice, has an unknown split, or is not listed but has a caption.
    """
    clips = Clips(source, images, "video")
    splits = {**SPLITS, "validate": "train"} if merge_validate else SPLITS
    seen: set[str] = set()
    for name, file in files_by_split(annotations, "train_val_videodatainfo.json").items():
        path = annotation_file(source, file, f"annotations.{name}")
        content, taken = read_json(path), Taken(path, "videos")
        captions = _captions(path, content)
        for number, entry in enumerate(entries_of(path, content, "videos")):
            where = f"videos[{number}]"
            taken.rows += 1
            video = text_field(path, where, entry, "video_id")
            if video in seen:
                raise ValueError(f"{path}, {where}: {video} is there twice: ids must be unique")
            seen.add(video)
            split = look_up(field(path, where, entry, "split"), splits, "split", f"{path}, {where}")
            yield Photo(video, clips.find([video]), split, taken.captions(where, captions.pop(video, ())))
        if captions:
            raise ValueError(f"{path} has captions of {next(iter(captions))}, which its list `videos` lacks")
        taken.photos = taken.rows
        taken.tell()
    clips.check()


def _captions(path: Path, content: object) -> dict[str, list]:
    """{video: its captions}."""
    captions: dict[str, list] = {}
    for number, entry in enumerate(entries_of(path, content, "sentences")):
        where = f"sentences[{number}]"
        video = text_field(path, where, entry, "video_id")
        captions.setdefault(video, []).append(field(path, where, entry, "caption"))
    return captions
