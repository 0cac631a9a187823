"""Reading and writing captions: predictions in COCO's results format, references in the formats the field shares.

Image ids are strings throughout; an integer id in a file is the same image as its decimal string.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any


def read_predictions(path: str | Path) -> dict[str, str]:
    """{image_id: caption} from COCO's results format (`[{"image_id": 1, "caption": "…"}]`) or `{"1": "…"}`.

    Raises FileNotFoundError, and ValueError naming the file and the entry when something is malformed or twice there.
    """
    content = _read_json(path, "predictions")
    if isinstance(content, dict):
        entries: Iterable[tuple[str, Any, Any]] = ((f"entry {key!r}", key, value) for key, value in content.items())
    elif isinstance(content, list):
        entries = (
            (f"entry {n}", _field(path, f"entry {n}", e, "image_id"), _field(path, f"entry {n}", e, "caption"))
            for n, e in enumerate(content)
        )
    else:
        raise ValueError(f"{path} must hold a list or an object of captions, not {_shown(content)}")
    predictions: dict[str, str] = {}
    for where, image_id, caption in entries:
        key = _image_id(path, where, image_id)
        if key in predictions:
            raise ValueError(f"{path}, {where}: image {key} has a caption already; one caption an image is scored")
        predictions[key] = _caption(path, where, caption)
    if not predictions:
        raise ValueError(f"{path} holds no captions")
    return predictions


def write_predictions(path: str | Path, predictions: Mapping[str, str]) -> None:
    """Write {image_id: caption} in COCO's results format; ids that are decimal integers are written as integers.

    The file appears whole or not at all.
    """
    entries = [{"image_id": _integer_if_canonical(i), "caption": caption} for i, caption in predictions.items()]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    lines = ",\n".join(json.dumps(entry) for entry in entries)  # one entry a line: readable, and diffs well
    unfinished.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    unfinished.replace(path)


def read_references(path: str | Path, split: str | None = None, image_ids: Iterable[str] = ()) -> dict[str, list[str]]:
    """{image_id: [captions]} from COCO annotations, Karpathy's split files, or `{"1": ["…", "…"]}`.

    split: of a Karpathy file, which has `train`, `restval`, `val` and `test`; `restval` counts as `train`, as in the
        papers that use these files. None takes all images. Other formats have no splits.
    image_ids: the ids to be scored, where known. COCO annotations name an image by `id`, Karpathy files by `cocoid`,
        else `imgid`. If more of these ids are file names, with or without their ending, images are named so instead.

    Raises FileNotFoundError, and ValueError naming the file and the entry when something is malformed.
    """
    content = _read_json(path, "references")
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object of references, not {_shown(content)}")
    if "annotations" in content:
        images = _coco_images(path, content)
    elif isinstance(content.get("images"), list):
        images = _karpathy_images(path, content["images"], split)
    else:
        images = [((_image_id(path, f"entry {k!r}", k),), captions) for k, captions in content.items()]
    if split is not None and ("annotations" in content or not isinstance(content.get("images"), list)):
        raise ValueError(f"{path} is no Karpathy file and has no split {split!r}: leave the split out")

    naming = _best_naming([names for names, _ in images], {str(image_id) for image_id in image_ids})
    references: dict[str, list[str]] = {}
    for names, captions in images:
        image_id = names[naming] if naming < len(names) else names[0]
        if image_id in references:
            raise ValueError(f"{path}: image {image_id} is there twice")
        if not isinstance(captions, list) or not captions:
            raise ValueError(f"{path}: image {image_id} must have a list of captions, not {_shown(captions)}")
        references[image_id] = [_caption(path, f"image {image_id}", caption) for caption in captions]
    if not references:
        raise ValueError(f"{path} holds no references" + (f" for the split {split!r}" if split else ""))
    return references


# An image: its possible names (the id, then the file name, then that without its ending) and its captions.
_Image = tuple[tuple[str, ...], Any]


def _coco_images(path: str | Path, content: dict[str, Any]) -> list[_Image]:
    annotations, described = content["annotations"], content.get("images", [])
    if not isinstance(annotations, list) or not isinstance(described, list):
        raise ValueError(f"{path}: `annotations` and `images` must be lists")
    names: dict[str, tuple[str, ...]] = {}
    for n, image in enumerate(described):
        where = f"images[{n}]"
        key = _image_id(path, where, _field(path, where, image, "id"))
        if key in names:
            raise ValueError(f"{path}, {where}: image {key} is there twice")
        names[key] = (key, *_file_names(image.get("file_name")))
    captions: dict[str, list[str]] = {key: [] for key in names}  # in the order of `images`, as COCOEvalCap goes
    for n, annotation in enumerate(annotations):
        where = f"annotations[{n}]"
        key = _image_id(path, where, _field(path, where, annotation, "image_id"))
        captions.setdefault(key, []).append(_caption(path, where, _field(path, where, annotation, "caption")))
    # Images without any caption are in the test files that COCO published without annotations: nothing to score.
    return [(names.get(key, (key,)), texts) for key, texts in captions.items() if texts]


def _karpathy_images(path: str | Path, entries: list[Any], split: str | None) -> list[_Image]:
    images: list[_Image] = []
    splits = set()
    for n, image in enumerate(entries):
        where = f"images[{n}]"
        part = _field(path, where, image, "split")
        part = "train" if part == "restval" else part
        splits.add(part)
        if split is not None and part != ("train" if split == "restval" else split):
            continue
        image_id = image["cocoid"] if "cocoid" in image else _field(path, where, image, "imgid")
        sentences = _field(path, where, image, "sentences")
        if not isinstance(sentences, list):
            raise ValueError(f"{path}, {where}: `sentences` must be a list, not {_shown(sentences)}")
        names = (_image_id(path, where, image_id), *_file_names(image.get("filename")))
        images.append((names, [_field(path, where, sentence, "raw") for sentence in sentences]))
    if split is not None and not images and splits:
        raise ValueError(f"{path} has no split {split!r}: it has {', '.join(sorted(map(str, splits)))}")
    return images


def _file_names(name: Any) -> tuple[str, ...]:
    return (name, PurePosixPath(name).stem) if isinstance(name, str) and name else ()


def _best_naming(names: list[tuple[str, ...]], image_ids: set[str]) -> int:
    """Which of an image's names the ids use: 0 its id, 1 its file name, 2 the file name without its ending."""
    matches = [sum(n[naming] in image_ids for n in names if naming < len(n)) for naming in range(3)]
    return matches.index(max(matches))


def _read_json(path: str | Path, option: str) -> Any:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} (option {option})")
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a UTF-8 text file ({error.reason} at byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error.msg} at line {error.lineno}") from error
    except _DuplicateKey as error:
        raise ValueError(f"{path} holds the key {error} twice in one object") from error


class _DuplicateKey(Exception):
    """A JSON object with the same key twice, of which Python's reader would drop the first silently."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _DuplicateKey(repr(key))
    return content


def _field(path: str | Path, where: str, entry: Any, name: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise ValueError(f"{path}, {where} must be an object with `{name}`, not {_shown(entry)}")
    return entry[name]


def _image_id(path: str | Path, where: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError(f"{path}, {where}: an image id must be an integer or a string, not {_shown(value)}")
    return str(value)


def _caption(path: str | Path, where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{path}, {where}: a caption must be a string, not {_shown(value)}")
    return value


def _integer_if_canonical(image_id: str) -> int | str:
    """The integer whose decimal string this is; "007" and "٣" stay strings, since they would not come back."""
    if image_id.isascii() and image_id.isdigit() and len(image_id) < 19 and str(int(image_id)) == image_id:
        return int(image_id)
    return image_id


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}…"
