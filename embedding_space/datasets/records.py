"""What readers yield and count, and the checks of fields that they share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.characters import is_identifier, is_whole, whole_characters
from embedding_space.media import NAMES, medium_of
from embedding_space.splits import canonical_split


@dataclass(frozen=True)
class Photo:
    """A photo (or a sound, or a video) and its captions, or, where `path` is None, text without a photo.

    Attributes:
        about: id or file name of the photo that such text describes, where its file says so.
    """

    image_id: str
    path: Path | None
    split: str
    captions: tuple[str, ...] = ()
    about: str | None = None


def annotation_file(folder: Path, name: str, option: str) -> Path:
    """The file `name` in `folder`; an absolute name is used as it is.

    Raises:
        FileNotFoundError: there is no such file; the sentence names the options that locate it.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}: name the folder that holds it with dataset.source=..., or the file with "
            f"dataset.{option}=...; data/README.md says how to get it"
        )
    return path


def files_by_split(named: Mapping[str, str | None], example: str, option: str = "annotations") -> dict[str, str]:
    """The files of {split: file name or null} that are named. Raises ValueError when none is, and for one name alone;
    `example` is a name."""
    if not isinstance(named, Mapping):
        raise ValueError(
            f"dataset.{option}={named} must be a file for each split, such as dataset.{option}.val={example}"
        )
    files = {split: file for split, file in named.items() if file is not None}
    if not files:
        raise ValueError(f"No {option} are named: give dataset.{option}.val={example}, or train or test")
    return files


def entries_of(path: Path, content: Any, key: str) -> list:
    """The list under `key` of a JSON file's content. Raises ValueError when there is none."""
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise ValueError(f"{path} must be an object with a list {key!r}; data/README.md describes the formats")
    return content[key]


def field(path: Path, where: str, entry: Any, name: str) -> Any:
    """`entry[name]`. Raises ValueError naming file and entry when it is not there."""
    if not isinstance(entry, dict) or entry.get(name) is None:
        raise ValueError(f"{path}, {where}: the field {name!r} is missing; data/README.md describes the formats")
    return entry[name]


def text_field(path: Path, where: str, entry: Any, name: str) -> str:
    """`entry[name]`, which must be text: a file's name, a split. Raises ValueError naming file and entry."""
    value = field(path, where, entry, name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{path}, {where}: the field {name!r} must be text, not {shown(value)}")
    return whole(path, where, value)


def checked_id(path: Path, where: str, value: Any) -> str:
    """The id or name of an image as text: an integer is its decimal string, the same image as that string.

    Raises:
        ValueError: anything else (null, true, 1.0, a list, blank text); the sentence names file and entry.
    """
    if not is_identifier(value):
        raise ValueError(f"{path}, {where}: an image's id must be an integer or text, not {shown(value)}")
    return whole(path, where, str(value))


def checked_split(path: Path, where: str, value: Any) -> str:
    """The split's canonical name. Raises ValueError naming file and entry where it is none."""
    try:
        return canonical_split(value)
    except ValueError as error:
        raise ValueError(f"{path}, {where}: {error}") from error


def whole(path: Path, where: str, name: str) -> str:
    """`name`, where it can be written as UTF-8. Raises ValueError for half surrogate pairs, naming file and entry."""
    if not is_whole(name):
        raise ValueError(f"{path}, {where}: {name!a} holds half a character (a lone surrogate): correct that name")
    return name


def shown(value: Any) -> str:
    """A value for messages, cut after 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def things_of(path: str | Path) -> str:
    """What files such as this one are called in messages: photos, sounds or videos."""
    medium = medium_of(path) or "image"
    return "photos" if medium == "image" else NAMES[medium]


def say(sentence: str) -> None:
    """Print, with escapes for what the terminal or the log cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    print(sentence.encode(encoding, "backslashreplace").decode(encoding))


class Taken:
    """What a reader took from one file: counted while it reads, printed at its end.

    Attributes:
        things: what the file's entries are about, such as photos.
        columns: the fields by what they were read as, {"caption": ["comment"]}.
    """

    def __init__(self, path: Path, things: str = "photos"):
        self.path, self.things = path, things
        self.columns: dict[str, dict[str, None]] = {}
        self.rows = self.photos = self.texts = self.blank = self.mended = 0
        self.first: str | None = None
        self._notes: list[str] = []

    def captions(self, where: str, values: Iterable[Any]) -> tuple[str, ...]:
        """Captions with each run of white space as one space; blank ones (there are some in COCO's files) are left
        out, half characters replaced by U+FFFD, both counted. Raises ValueError for what is no text."""
        texts = []
        for value in values:
            if not isinstance(value, str):
                raise ValueError(f"{self.path}, {where}: a caption must be text, not {shown(value)}")
            if "\0" in value:
                raise ValueError(f"{self.path}, {where}: a caption holds a NUL character: remove it")
            if not is_whole(value):
                value, self.mended = whole_characters(value), self.mended + 1
            text = " ".join(value.split())
            if text:
                texts.append(text)
            else:
                self.blank += 1
        self.texts += len(texts)
        if texts and self.first is None:
            self.first = texts[0]
        return tuple(texts)

    def read(self, what: str, *fields: str) -> None:
        """Record which fields were read as `what`: photo, caption or split."""
        self.columns.setdefault(what, {}).update(dict.fromkeys(fields))

    def note(self, sentence: str) -> None:
        """Add a sentence to be printed at the end."""
        self._notes.append(sentence)

    def tell(self, needs_captions: bool = True) -> None:
        """Print the counts. Raises ValueError when nothing was taken, or none of the captions that are expected."""
        if not self.rows or (needs_captions and not self.texts):
            what = f"holds no captions ({self.rows:,} entries)" if self.rows else "is empty"
            raise ValueError(f"{self.path} {what}: name another file, or fetch or write it again")
        counts = [f"{self.rows:,} entries", f"{self.photos:,} {self.things}" if self.photos else ""]
        counts += [f"{self.texts:,} captions"]
        counts += [f"{self.blank:,} blank ones left out" if self.blank else ""]
        say(f"{self.path}: {', '.join(filter(None, counts))}")
        if self.columns:
            read = ", ".join(f"{what} from {' and '.join(names)}" for what, names in self.columns.items())
            say(f"  read: {read}")
        if self.first is not None:
            say(f"  first caption: {self.first}")
        if self.mended:
            say(f"  captions in which half a character (a lone surrogate) became U+FFFD: {self.mended:,}")
        for sentence in self._notes:
            say(f"  {sentence}")
