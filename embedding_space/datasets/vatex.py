"""VATEX: videos of 10 seconds with ten captions in English and ten in Chinese (Wang et al., ICCV 2019,
arXiv 1904.03493; files: https://eric-xw.github.io/vatex-website/download.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from common.text_files import read_json
from embedding_space.datasets.clips import Clips
from embedding_space.datasets.records import Photo, Taken, annotation_file, field, files_by_split, shown, text_field


def read_vatex(
    source: Path, annotations: Mapping[str, str | None], images: str | None, caption_key: str = "enCap"
) -> Iterator[Photo]:
    """Videos split by split, in their files' order; a video's id is its `videoID`, `<YouTube's id>_<start>_<end>`.

    Args:
        source: the folder of the files and of the videos.
        annotations: {split: JSON in source}, a list of objects with `videoID` and captions; null leaves a split out.
        images: the folder of the videos that one has, `<videoID>.mp4`, subfolders included; null takes the captions
            alone.
        caption_key: where the captions are: enCap (English) or chCap (Chinese).

    Raises:
        ValueError: a video is listed twice, has no captions, or is in two splits.
    """
    clips = Clips(source, images, "video")
    split_of: dict[str, str] = {}
    for split, file in files_by_split(annotations, "vatex_validation_v1.0.json").items():
        path = annotation_file(source, file, f"annotations.{split}")
        content, taken = read_json(path), Taken(path, "videos")
        if not isinstance(content, list):
            raise ValueError(f"{path} must be a list of objects with videoID and {caption_key}, not {shown(content)}")
        for number, entry in enumerate(content):
            where = f"entry {number}"
            taken.rows += 1
            video = text_field(path, where, entry, "videoID")
            if video in split_of:
                raise ValueError(f"{path}, {where}: {video} is there twice, first in {split_of[video]}: remove one")
            split_of[video] = split
            captions = field(path, where, entry, caption_key)
            if not isinstance(captions, list):
                raise ValueError(f"{path}, {where}: `{caption_key}` must be a list, not {shown(captions)}")
            yield Photo(video, clips.find([video]), split, taken.captions(where, captions))
        taken.photos = taken.rows
        taken.tell()
    clips.check()
