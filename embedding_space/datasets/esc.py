"""ESC-10 and ESC-50: sounds of 5 seconds with a class and no captions (Piczak, ACM Multimedia 2015; files:
https://github.com/karolpiczak/ESC-10, https://github.com/karolpiczak/ESC-50). Captions are made up from class names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common.csv_files import table_rows
from embedding_space.datasets.folders import files_of
from embedding_space.datasets.records import Photo, Taken, annotation_file, say, text_field

NAME = re.compile(r"(?P<fold>\d+)-(?P<clip>\d+)-(?P<take>[A-Z])(?:-\d+)?")
NUMBERED = re.compile(r"\d+ - ")  # ESC-10's folders: `001 - Dog bark`
COLUMNS = ("filename", "fold", "category")


def read_esc(
    source: Path,
    annotations: str | None,
    images: str,
    templates: Sequence[str],
    phrases: Mapping[str, str],
    test_fold: int,
    val_fold: int | None = None,
) -> Iterator[Photo]:
    """Sounds by fold and name; an id is the path within `source`.

    The captions are made up: each template about the class, the same for all sounds of a class, in training and in
    test. They say whether a model tells the classes apart, and nothing about its language.

    Args:
        source: the folder of the sounds and of `annotations`.
        annotations: ESC-50's meta/esc50.csv, with the columns filename, fold and category; or null: a sound's class is
            its folder (`dog_bark`, or `001 - Dog bark`), and its fold begins its name,
            `<fold>-<clip>-<take>[-<class>].ogg`.
        images: the folder of the sounds in source.
        templates: captions with {} for the class.
        phrases: {class: the words for it in captions}; others are called by their name, with blanks for underscores.
        test_fold: this fold is the split test, the others are train.
        val_fold: this fold is the split val; null: there is none.

    Raises:
        ValueError: a name is of another form, a fold has no sound, or a phrase is of no class.
    """
    if not templates or not all("{}" in template for template in templates):
        raise ValueError(f"dataset.templates={list(templates)} must be captions with {{}} for the class")
    if test_fold == val_fold:
        raise ValueError(f"dataset.val_fold={val_fold} is the test fold: name another one, or null for none")
    folder = source / images
    clips = _by_folder(folder) if annotations is None else _by_table(source, annotations, folder)
    clips = sorted(clips, key=lambda clip: (clip[1], clip[0]))
    held_out = {"test": test_fold, "val": val_fold}
    folds, classes = {fold for _, fold, _ in clips}, {name for _, _, name in clips}
    for option, fold in held_out.items():
        if fold is not None and fold not in folds:
            raise ValueError(f"dataset.{option}_fold={fold}: {folder} has the folds {sorted(folds)}")
    if unknown := sorted(set(phrases) - classes):
        raise ValueError(
            f"dataset.phrases.{unknown[0]} is of no sound's class; those are {', '.join(sorted(classes))}: correct it, "
            f"or take it out with ~dataset.phrases.{unknown[0]}"
        )
    splits = {fold: split for split, fold in held_out.items() if fold is not None}
    for path, fold, name in clips:
        words = phrases.get(name, name.replace("_", " "))
        captions = tuple(template.replace("{}", words) for template in templates)
        yield Photo(path.relative_to(source).as_posix(), path, splits.get(fold, "train"), captions)
    say(f"{folder}: {len(clips):,} sounds of {len(classes)} classes; captions are made up from the names of classes")


def _by_folder(folder: Path) -> Iterator[tuple[Path, int, str]]:
    """(path, fold, class) of each sound, whose folder is its class."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder} (options dataset.source and dataset.images)")
    paths = files_of(folder, "sound")
    if not paths:
        raise ValueError(f"There is no sound in {folder} (options dataset.source and dataset.images)")
    for path in paths:
        parts = NAME.fullmatch(path.stem)
        if parts is None:
            raise ValueError(f"{path} must be called <fold>-<clip>-<take>, such as 1-100032-A.ogg")
        name = NUMBERED.sub("", path.parent.name).strip().lower().replace(" ", "_")
        yield path, int(parts["fold"]), name


def _by_table(source: Path, annotations: str, folder: Path) -> Iterator[tuple[Path, int, str]]:
    """(path, fold, class) of each row."""
    path = annotation_file(source, annotations, "annotations")
    taken, seen = Taken(path, "sounds"), set[str]()
    for where, row in table_rows(path, COLUMNS):
        taken.rows += 1
        name, fold, category = (text_field(path, where, row, column) for column in COLUMNS)
        if name in seen:
            raise ValueError(f"{path}, {where}: {name} is there twice: remove one")
        seen.add(name)
        if not fold.isdecimal():
            raise ValueError(f"{path}, {where}: the fold must be a whole number, not {fold!r}")
        yield folder / name, int(fold), category
    taken.photos = len(seen)
    taken.tell(needs_captions=False)
