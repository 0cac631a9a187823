"""Which class an image is of, for zero-shot classification by the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from embedding_space.store import EmbeddingStore
from evaluation.captions.class_words import labels_from_captions
from evaluation.captions.entries import EntryReader
from evaluation.reading import ID_FIELDS, read_entries, shown


def read_labels(
    labels: str, store: EmbeddingStore, split: str, classes: Sequence[str] | None = None
) -> tuple[list[str], Tensor, Tensor]:
    """Class names (C), the rows (N,) of the images of `split` that have a class, and their classes' numbers (N,).

    labels: `folder`, the name of the folder that a picture is in (underscores are spaces); a JSON file {image_id:
    class}, or a CSV, TSV or JSON Lines file with the columns image_id and class; or `captions`: images whose references
    name one of `classes` and no other. classes: by default, those that images have, sorted.

    Raises ValueError for a class that is not among `classes`, for fewer than two, and when no image has one;
    FileNotFoundError for a file that is not there.
    """
    ids = store.image_ids(split)
    if labels == "captions":
        if classes is None:
            raise ValueError("labels=captions looks for classes in the references: name them with classes=[dog,cat]")
        numbers = labels_from_captions(store.tables.references(split), list(classes))
        class_of = {image_id: classes[number] for image_id, number in numbers.items()}
    elif labels == "folder":
        paths = store.tables.image_paths(store.tables.image_rows(split))
        class_of = {image_id: path.parent.name.replace("_", " ") for image_id, path in zip(ids, paths, strict=True)}
    else:
        class_of = _read(Path(labels))
    rows = [row for row, image_id in enumerate(ids) if image_id in class_of]
    names = list(classes) if classes is not None else sorted({class_of[ids[row]] for row in rows})
    if unknown := {class_of[ids[row]] for row in rows} - set(names):
        raise ValueError(
            f"labels={labels} names the class {sorted(unknown)[0]!r}, which is not among classes={names[:10]}"
        )
    if not rows:
        raise ValueError(f"labels={labels} gives no class to any image of split={split}, with classes={names[:10]}")
    if len(names) < 2:
        raise ValueError(f"labels={labels} gives {len(rows)} images of {split!r} {len(names)} classes: two are needed")
    number = {name: index for index, name in enumerate(names)}
    return names, torch.tensor(rows), torch.tensor([number[class_of[ids[row]]] for row in rows])


def _read(path: Path) -> dict[str, str]:
    """{image_id: class} of a file; in tables and lists, the columns or fields `image_id` and `class`."""
    if not path.is_file():
        raise FileNotFoundError(f"labels={path} is neither 'folder' nor 'captions' nor a JSON or CSV file")
    try:
        return _classes(path)
    except ValueError as error:
        raise ValueError(
            f"labels={path} must be JSON {{image_id: class}}, or CSV, TSV or JSON Lines with "
            f"the columns image_id and class ({error})"
        ) from error


def _classes(path: Path) -> dict[str, str]:
    content, reader = read_entries(path, "labels"), EntryReader(path)
    if not content:
        raise ValueError("it must be a JSON object or a list that is not empty")
    if isinstance(content, dict):
        entries = [(f"entry {key!r}", key, name) for key, name in content.items()]
    else:
        entries = [(at, reader.field(at, e, *ID_FIELDS), reader.field(at, e, "class")) for at, e in content]
    class_of: dict[str, str] = {}
    for where, image_id, name in entries:
        key = reader.image_id(where, image_id)
        if isinstance(name, bool) or not isinstance(name, int | str) or not str(name).strip():
            raise reader.error(where, f": a class must be a name or a number, not {shown(name)}")
        if class_of.setdefault(key, str(name).strip()) != str(name).strip():
            raise reader.error(where, f": image {key} has the class {class_of[key]!r} already")
    return class_of
