"""Reading and writing predictions: COCO's results format, and the others that captions are kept in.

Image ids are strings throughout; an integer id in a file is the same image as its decimal string. References are read
by evaluation/captions/references.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common.files import write_whole
from evaluation.captions.entries import EntryReader
from evaluation.reading import CAPTION_FIELDS, ID_FIELDS, read_entries


def read_predictions(path: str | Path) -> dict[str, str]:
    """{image_id: caption} from JSON, JSON Lines, CSV or TSV, each also compressed (`.gz`).

    JSON: COCO's results format (`[{"image_id": 1, "caption": "…"}]`), `{"1": "…"}`, which `scripts/caption.py` writes
    with paths for ids, or pycocoevalcap's `{"1": ["…"]}` and `{"1": [{"caption": "…"}]}`. JSON Lines: an object a line
    as in COCO's results. Tables: columns by these names, or `path` and others (`reading.ID_FIELDS`).

    Raises FileNotFoundError, and ValueError naming the file and the entry when something is malformed or twice there.
    """
    content, reader = read_entries(path, "predictions"), EntryReader(path)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        content = [(f"annotations[{n}]", entry) for n, entry in enumerate(content["annotations"])]
    elif isinstance(content, dict) and _is_one_entry(content):
        content = [("entry 0", content)]
    listed = not isinstance(content, dict)
    if listed:
        entries: Iterable[tuple[str, Any, Any]] = (
            (where, reader.field(where, entry, *ID_FIELDS), reader.field(where, entry, *CAPTION_FIELDS))
            for where, entry in content
        )
    else:
        entries = ((f"entry {key!r}", key, value) for key, value in content.items())
    predictions: dict[str, str] = {}
    for where, image_id, caption in entries:
        key = reader.image_id(where, image_id)
        if key in predictions:
            raise ValueError(f"{path}, {where}: image {key} has a caption already; one caption an image is scored")
        predictions[key] = reader.caption(where, caption) if listed else reader.one_caption(where, caption)
    if not predictions:
        raise ValueError(f"{path} holds no captions")
    reader.warn_of_halves()
    return predictions


def _is_one_entry(content: Mapping) -> bool:
    """Whether an object is one image's entry, not {image_id: caption}: JSON Lines of one line, called .json."""
    names = [next((name for name in names if name in content), None) for names in (ID_FIELDS, CAPTION_FIELDS)]
    return None not in names and all(isinstance(content[name], (str, int)) for name in names)


def write_predictions(path: str | Path, predictions: Mapping[str, str]) -> None:
    """Write {image_id: caption} in COCO's results format; ids that are decimal integers are written as integers.

    The file appears whole or not at all.
    """
    entries = [{"image_id": _integer_if_canonical(i), "caption": caption} for i, caption in predictions.items()]
    lines = ",\n".join(json.dumps(entry) for entry in entries)  # one entry a line: readable, and diffs well
    write_whole(path, f"[\n{lines}\n]\n")


def _integer_if_canonical(image_id: str) -> int | str:
    """The integer whose decimal string this is; "007" and "٣" stay strings, since they would not come back."""
    if image_id.isascii() and image_id.isdigit() and len(image_id) < 19 and str(int(image_id)) == image_id:
        return int(image_id)
    return image_id
