"""A folder of generated pictures, and the sentences that they were generated from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from common.files import file_sha256
from embedding_space.datasets.folders import picture_files
from evaluation.captions.entries import EntryReader
from evaluation.pictures.errors import UnreadablePictures
from evaluation.reading import read_entries, shown

LIST, TEXT_KEY = "images.json", "sentence"


@dataclass(frozen=True)
class Generated:
    """N pictures and their sentences, in one order.

    Attributes:
        folder: where they are. files: their paths in it.
        sentences: one of each picture; pictures of several seeds share theirs.
        caption_ids, image_ids: of the data set that the sentences are from, None where nobody says.
        facts: what `images.json` says beside its pictures: how they were generated.
        left_over: pictures in the folder that `images.json` does not name.
    """

    folder: Path
    files: Sequence[str]
    sentences: Sequence[str]
    caption_ids: Sequence[str | None]
    image_ids: Sequence[str | None]
    facts: Mapping[str, Any] = field(default_factory=dict)
    left_over: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def paths(self) -> list[Path]:
        return [self.folder / file for file in self.files]

    @property
    def sentences_from(self) -> str:
        """Where the sentences were read, for results."""
        return LIST if (self.folder / LIST).exists() else "the pictures' own text"

    @cached_property
    def different_sentences(self) -> list[str]:
        """Each sentence once, in the order of its first picture."""
        return list(dict.fromkeys(self.sentences))

    @cached_property
    def sentence_rows(self) -> Tensor:
        """(N,) int64: each picture's sentence among `different_sentences`."""
        rows = {sentence: row for row, sentence in enumerate(self.different_sentences)}
        return torch.tensor([rows[sentence] for sentence in self.sentences])

    @cached_property
    def hash(self) -> str:
        """SHA-256 over names, pictures and sentences."""
        digest = hashlib.sha256()
        for path, file, sentence in zip(self.paths, self.files, self.sentences, strict=True):
            digest.update(f"{file}\x1f{file_sha256(path)}\x1f{sentence}\x1f".encode())
        return digest.hexdigest()

    @cached_property
    def least_side(self) -> int:
        """Pixels of the shortest side of any of the pictures. Raises UnreadablePictures."""
        sides, reasons = [], []
        for path in self.paths:
            try:
                with Image.open(path) as opened:
                    sides.append(min(opened.size))
            except Exception as error:  # a damaged file makes Pillow fail in any way
                reasons.append(f"{path}: {error}")
        if reasons:
            raise UnreadablePictures(reasons, len(self), "generated")
        return min(sides)

    @property
    def encoders(self) -> list[dict]:
        """Descriptions of the encoders whose embeddings the generator read, as `images.json` has them under `encoder`
        or `encoders`; none where nobody says."""
        listed = self.facts.get("encoders")
        named = [*listed.values()] if isinstance(listed, Mapping) else [self.facts.get("encoder")]
        return [description for description in named if isinstance(description, dict)]


def read_generated(folder: str | Path) -> Generated:
    """The pictures of a folder: those that its `images.json` lists, [{"file", "sentence"}, ...] with `caption_id` and
    `image_id` where they are known, alone or as `images` of an object; without that file all pictures, each with its
    sentence as the PNG's own text.

    Raises:
        FileNotFoundError: there is no such folder, or a listed picture is not there.
        ValueError: the folder has no pictures, a picture has no sentence, or `images.json` is malformed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder} (option pictures): name one of generated pictures")
    there = [path.relative_to(folder).as_posix() for path in picture_files(folder)]
    if not (folder / LIST).exists():
        return _with_own_text(folder, there)
    facts, rows = _listed(folder / LIST)
    missing = [file for file in rows if not (folder / file).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing):,} of the {len(rows):,} pictures that {folder / LIST} lists are not there; the first: "
            f"{missing[0]}: generate them again, or take them off the list"
        )
    columns = {name: [row[name] for row in rows.values()] for name in ("sentence", "caption_id", "image_id")}
    left_over = [file for file in there if file not in rows]
    return Generated(
        folder, list(rows), columns["sentence"], columns["caption_id"], columns["image_id"], facts, left_over
    )


def _listed(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What the file says beside its pictures, and {file: {"sentence", "caption_id", "image_id"}}."""
    content, reader, facts = read_entries(path, "pictures"), EntryReader(path), {}
    if isinstance(content, dict):
        facts = {name: value for name, value in content.items() if name != "images"}
        images = content.get("images")
        if not isinstance(images, list):
            raise ValueError(f"{path} must hold a list, or one as `images`, of objects with `file` and `sentence`")
        content = [(f"images[{number}]", entry) for number, entry in enumerate(images)]
    rows: dict[str, dict[str, Any]] = {}
    for where, entry in content:
        file, sentence = reader.field(where, entry, "file"), reader.field(where, entry, "sentence")
        if not isinstance(file, str) or not file.strip():
            raise ValueError(f"{path}, {where}: `file` must name a picture in {path.parent}, not {shown(file)}")
        if file in rows:
            raise ValueError(f"{path}, {where}: the picture {file} is there already; list each once")
        sentence = reader.caption(where, sentence).strip()
        if not sentence:
            raise ValueError(f"{path}, {where}: the picture {file} has a blank sentence: say what it was made from")
        ids = {name: entry.get(name) for name in ("caption_id", "image_id")}
        rows[file] = {"sentence": sentence, **{n: None if i is None else str(i) for n, i in ids.items()}}
    if not rows:
        raise ValueError(f"{path} lists no pictures: generate some")
    reader.warn_of_halves()
    return facts, rows


def _with_own_text(folder: Path, files: Sequence[str]) -> Generated:
    if not files:
        raise ValueError(f"There is no picture in {folder} (option pictures): generate some, or name another folder")
    sentences, lacking, reasons = [], [], []
    for file in files:
        try:
            with Image.open(folder / file) as opened:
                opened.load()  # a PNG's text may follow its pixels
                text = opened.info.get(TEXT_KEY)
        except Exception as error:  # a damaged file makes Pillow fail in any way
            reasons.append(f"{folder / file}: {error}")
            continue
        if not isinstance(text, str) or not text.strip():
            lacking.append(file)
        else:
            sentences.append(text.strip())
    if reasons:
        raise UnreadablePictures(reasons, len(files), "generated")
    if lacking:
        raise ValueError(
            f"{len(lacking):,} of {len(files):,} pictures in {folder} do not say what they were made from; the first: "
            f'{lacking[0]}: write {LIST} beside them, [{{"file": "{lacking[0]}", "sentence": "..."}}, ...], or '
            f"save PNG files with the text {TEXT_KEY!r}"
        )
    return Generated(folder, files, sentences, [None] * len(files), [None] * len(files))
