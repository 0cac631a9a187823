"""AudioCaps: sounds of 10 seconds from AudioSet with captions (Kim, Kim, Lee and Kim, NAACL 2019; files:
https://github.com/cdjkim/audiocaps)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common.csv_files import table_rows
from embedding_space.datasets.clips import Clips
from embedding_space.datasets.records import Photo, Taken, annotation_file, field, files_by_split, shown, text_field

SECONDS = 10  # of a clip
COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")


def read_audiocaps(
    source: Path, annotations: Mapping[str, str | None], images: str | None, names: Sequence[str]
) -> Iterator[Photo]:
    """Sounds split by split, in the order in which their files first name them; an id is `<youtube_id>_<start_time>`.

    A clip has one caption in train, and five in val and test, each in a row of its own.

    Args:
        source: the folder of the files and of the sounds.
        annotations: {split: CSV in source} with the columns audiocap_id, youtube_id, start_time and caption; null
            leaves a split out.
        images: the folder of the sounds that one has, subfolders included; null takes the captions alone.
        names: how the sounds may be called, without endings. Fields: audiocap_id, youtube_id, start_time and end_time
            (whole seconds).

    Raises:
        ValueError: a clip is in two splits, a row is there twice, or no sound is called by any of `names`.
    """
    _check_names(names)
    clips = Clips(source, images, "sound")
    split_of: dict[str, str] = {}
    for split, file in files_by_split(annotations, "val.csv").items():
        path = annotation_file(source, file, f"annotations.{split}")
        taken = Taken(path, "sounds")
        rows = _rows_of_clips(path, taken)
        for clip, its in rows.items():
            other = split_of.setdefault(clip, split)
            if other != split:
                raise ValueError(f"{path}: the clip {clip} is in {other}, too: no two splits may share a sound")
            called = [name.format(**row) for name in names for _, row in its]
            captions = [caption for where, row in its for caption in taken.captions(where, [row["caption"]])]
            yield Photo(clip, clips.find(list(dict.fromkeys(called))), split, tuple(captions))
        taken.photos = len(rows)
        taken.tell()
    clips.check()


def _check_names(names: Sequence[str]) -> None:
    row = {"audiocap_id": "1", "youtube_id": "x", "start_time": 0, "end_time": SECONDS}
    if not names:
        raise ValueError("dataset.names=[] must say how the sounds are called, such as ['{youtube_id}_{start_time}']")
    for name in names:
        try:
            name.format(**row)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"dataset.names: {name!r} is no name of a sound; its fields may be {', '.join(row)}, in braces"
            ) from error


def _rows_of_clips(path: Path, taken: Taken) -> dict[str, list[tuple[str, dict]]]:
    """{clip: its rows with their places}, in the file's order."""
    clips: dict[str, list[tuple[str, dict]]] = {}
    ids: set[str] = set()
    for where, row in table_rows(path, COLUMNS):
        taken.rows += 1
        number, video, start = (text_field(path, where, row, name) for name in COLUMNS[:3])
        if number in ids:
            raise ValueError(f"{path}, {where}: the audiocap_id {number} is there twice: remove one")
        ids.add(number)
        if not start.isdecimal():
            raise ValueError(f"{path}, {where}: start_time must be whole seconds, not {shown(start)}")
        times = {"start_time": int(start), "end_time": int(start) + SECONDS}
        entry = {"audiocap_id": number, "youtube_id": video, "caption": field(path, where, row, "caption"), **times}
        clips.setdefault(f"{video}_{int(start)}", []).append((where, entry))
    return clips
