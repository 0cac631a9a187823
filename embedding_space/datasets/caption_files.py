"""Files of captions: JSONL, JSON, CSV, TSV, `|`-separated, Flickr's token files, or one caption per line.

The ending says what a file is, and its content must agree. Where the ending says nothing (.txt), the first line does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.delimited import table_rows
from common.text_files import first_line, json_lines, numbered_lines, parse_json, read_json
from embedding_space.datasets.records import Taken, checked_id, checked_split, entries_of, field
from embedding_space.splits import SPELLINGS, canonical_split, is_held_out

KINDS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "table", ".tsv": "table", ".token": "token",
}  # fmt: skip
UNREAD = (
    ".parquet", ".arrow", ".feather", ".xlsx", ".xls", ".ods", ".pkl", ".pickle", ".npy", ".npz", ".pt", ".h5", ".zip",
    ".tar", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".db", ".html", ".htm", ".xml", ".yaml", ".yml", ".toml", ".md",
    ".rtf", ".doc", ".docx", ".pdf", ".py", ".mat", ".srt", ".vtt",
)  # fmt: skip
# Other names of a split. They are not read, but checked, as are all names with `split` in them.
SPLIT_NAMES = ("set", "subset", "partition", "phase", "fold", "mode", "stage", "usage")
HEADERS = ("captions", "text", "sentence", "sentences", "comment")  # beside the options' own keys
IMAGE_NAMES = {"image_name": "comment", "file_name": "text"}  # Flickr30k's results.csv, Hugging Face's metadata
TOKEN = re.compile(r"(?P<name>[^\t]+?)#(?P<number>\d+)\t(?P<caption>.*)")
# A header of names, a number before a caption, and what is no caption's first line: rows of a table, another format.
NAMES_ALONE = re.compile(r"\s*[A-Za-z_]\w*(?:\s*[;|]\s*[A-Za-z_]\w*|,[A-Za-z_]\w*)+\s*")
NUMBERED = re.compile(r"\s*\d+[,;|](?=[\"A-Za-z])|\s*\d+\s*[;|]")
MARKUP = re.compile(r"\s*<(?:!doctype|\?xml|html|head|body)\b", re.IGNORECASE)
NAMED_PICTURE = re.compile(r"\s*[^\s,;|]+\.(?:jpe?g|png|webp|bmp|gif|tiff?)(?:#\d+)?\s*[,;|]", re.IGNORECASE)


@dataclass(frozen=True)
class Keys:
    """The keys, or columns, of an entry's image, its caption and its split.

    Attributes:
        image: where it is `image` and there is none, `image_name` and `file_name` are used instead.
        text: one key, or several. Beside one key, numbered ones (`caption_1`, `caption_2`) are read, too. Where it is
            `caption` and there is none, the `comment` beside `image_name` and the `text` beside `file_name` are read.
        split: entries may lack it; where it is `split`, its case does not matter. Where only text is read, image may be
            missing, too.
    """

    image: str | None
    text: str | Sequence[str] | None
    split: str | None = "split"

    @property
    def known(self) -> set[str]:
        """Names of columns by which a header is recognized."""
        texts = [self.text] if isinstance(self.text, str) else self.text or []
        return {*filter(None, (self.image, *texts)), *(f"{text}_{n}" for text in texts for n in (0, 1)), *IMAGE_NAMES}

    def image_of(self, entry: Mapping) -> str | None:
        """The key of the entry's image."""
        if self.image == "image" and "image" not in entry:
            return next((name for name in IMAGE_NAMES if name in entry), self.image)
        return self.image

    def texts_of(self, entry: Mapping) -> list[str]:
        """The keys of the entry's captions; none when it has none."""
        if not isinstance(self.text, str):
            return [name for name in self.text or () if name in entry]
        numbered = re.compile(rf"{re.escape(self.text)}[ _-]?(\d+)")
        numbers = {name: int(match[1]) for name in entry if (match := numbered.fullmatch(name))}
        names = [self.text] * (self.text in entry) + sorted(numbers, key=numbers.__getitem__)
        if not names and self.text == "caption":
            names = [text for image, text in IMAGE_NAMES.items() if image in entry and text in entry][:1]
        return names

    def split_of(self, entry: Mapping) -> str | None:
        """The key of the entry's split."""
        if self.split == "split" and "split" not in entry:
            return next((name for name in entry if name.lower() == "split"), self.split)
        return self.split


@dataclass(frozen=True)
class Entry:
    """One line, row or object as it is written: `image` is an id or a file name, `fields` are all keys."""

    where: str
    captions: list[Any]
    image: str | None = None
    split: str | None = None
    fields: tuple[str, ...] = ()


def kind_of(path: Path, keys: Keys) -> str:
    """`jsonl`, `json`, `table`, `token`, or `text` (one caption per line). `.gz` does not count as an ending.

    Raises:
        ValueError: the ending is that of other files.
    """
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending in UNREAD:
        raise ValueError(
            f"{path} has an ending that no reader takes: it must end in .jsonl, .csv or .tsv (or .ndjson, .json, "
            ".token or .txt)"
        )
    if ending in KINDS:
        return KINDS[ending]
    line = first_line(path)
    if TOKEN.fullmatch(line):
        return "token"
    names = re.split(r"\s*[,;|\t]\s*", line.strip())
    return "table" if len(names) > 1 and set(names) & keys.known else "text"


def read_entries(path: Path, keys: Keys, taken: Taken) -> Iterator[Entry]:
    """The entries of a file of captions; counts them and names their columns in `taken`.

    Raises:
        ValueError: the file, or a line of it, cannot be read as what the file is; the sentence names the line.
    """
    kind = kind_of(path, keys)
    if kind == "text":
        for number, line in numbered_lines(path):
            if not taken.rows and line.strip().lower() in {*keys.known, *HEADERS}:
                raise ValueError(
                    f"{path}, line {number} is a header ({line.strip()}), and the file is read as one caption per "
                    "line: remove that line, or call the file .csv or .tsv"
                )
            if not taken.rows:
                _check_first(path, number, line)
            taken.rows += 1
            _check_plain(path, number, line)
            yield Entry(f"line {number}", [line])
    elif kind == "token":
        for where, name, caption in token_lines(path, taken):
            yield Entry(where, [caption], name)
    elif kind == "json":
        yield from _json_entries(path, read_json(path), keys, taken)
    else:
        entries = json_lines(path) if kind == "jsonl" else table_rows(path, keys.known)
        for where, entry in entries:
            taken.rows += 1
            yield _entry(path, where, entry, keys, taken)
    if taken.rows:
        _check_columns(path, keys, taken)


def _check_columns(path: Path, keys: Keys, taken: Taken) -> None:
    """Refuse keys of options that no entry has: a misspelled one would lose captions, or hold nothing out."""
    texts = (keys.text or ()) if taken.columns and not isinstance(keys.text, str) else ()
    split = keys.split if keys.split not in (None, "split") else None
    for option, key, what in [("text_key", text, "caption") for text in texts] + [("split_key", split, "split")]:
        if key is not None and key not in taken.columns.get(what, ()):
            raise ValueError(f"{path}: no entry has the field {key!r} (option dataset.{option}): correct or remove it")


def token_lines(path: Path, taken: Taken) -> Iterator[tuple[str, str, str]]:
    """(`line n`, file name, caption) of a token file of Flickr8k or Flickr30k: photo.jpg#0, a tab, the caption.

    Raises:
        ValueError: a line has another form or occurs twice. `taken` reports missing numbers.
    """
    numbers: dict[str, set[int]] = {}
    for number, line in numbered_lines(path):
        parts = TOKEN.fullmatch(line)
        if not parts:
            raise ValueError(f"{path}, line {number} must read photo.jpg#0, a tab and the caption; got {line[:60]!r}")
        name = parts["name"].strip()
        seen = numbers.setdefault(name, set())
        if int(parts["number"]) in seen:
            raise ValueError(f"{path}, line {number}: {name}#{parts['number']} is there twice: remove one")
        seen.add(int(parts["number"]))
        taken.rows += 1
        yield f"line {number}", name, parts["caption"]
    gaps = [name for name, seen in numbers.items() if max(seen) - min(seen) >= len(seen)]
    if gaps:
        taken.note(f"{len(gaps):,} photos lack a caption between their numbers, such as {gaps[0]}: is a line lost?")


def _entry(path: Path, where: str, entry: Any, keys: Keys, taken: Taken) -> Entry:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}, {where} must be an object with image and caption, not {ascii(entry)[:60]}")
    if not keys.text:
        raise ValueError(f"{path} has named fields: name the key of its captions with dataset.text_key=...")
    image, texts = keys.image_of(entry), keys.texts_of(entry)
    if not texts:
        wanted = repr(keys.text if isinstance(keys.text, str) else list(keys.text))
        raise ValueError(f"{path}, {where}: the field {wanted} is missing; {_there(entry)} dataset.text_key=...")
    captions: list[Any] = []
    for name in texts:
        value = _list_of(path, where, entry[name])
        if value is None and len(texts) == 1:
            field(path, where, entry, name)
        captions += value if isinstance(value, list) else [] if value is None else [value]
    split_key = keys.split_of(entry)
    name, split = (entry.get(key) if key else None for key in (image, split_key))
    name, split = (None if value == "" else value for value in (name, split))
    taken.read("caption", *texts)
    if image is not None and name is not None:
        taken.read("photo", image)
        name = checked_id(path, where, name)
    if split_key is not None and split is not None:
        taken.read("split", split_key)
        checked_split(path, where, split)
    elif keys.split:
        _check_unread_split(path, where, entry)
    return Entry(where, captions, name, split, tuple(entry))


def _check_unread_split(path: Path, where: str, entry: Mapping) -> None:
    for name, value in entry.items():
        if "split" not in name.lower() and name.strip().lower() not in SPLIT_NAMES:
            continue
        if isinstance(value, str) and value.strip() and "+" not in value and is_held_out(value):
            raise ValueError(
                f"{path}, {where}: the field {name!r} says {value!r}, but is not read as the split: name it with "
                "dataset.split_key=..., or take it out of the file"
            )


def missing_image(path: Path, entry: Entry, keys: Keys) -> ValueError:
    """The error for an entry that names no image where one is needed."""
    if not entry.fields:
        return ValueError(f"{path}, {entry.where} names no photo: give it named fields, such as image and caption")
    return ValueError(
        f"{path}, {entry.where}: the field {keys.image!r} is missing; {_there(entry.fields)} dataset.image_key=..."
    )


def _there(fields: Iterable[str]) -> str:
    fields = list(fields)
    header = "" if all(map(str.isidentifier, fields)) else " (the first line of a table must be a header)"
    return f"the fields there are {', '.join(map(ascii, fields)) or 'none'}{header}: name the right one with"


def _list_of(path: Path, where: str, value: Any) -> Any:
    """The list that a text such as `["a dog", "a hound"]` spells, as in Flickr30k's table on Hugging Face."""
    if not isinstance(value, str) or not re.fullmatch(r"""\[\s*['"].*['"]\s*\]""", value.strip(), re.DOTALL):
        return value
    try:
        return parse_json(value)
    except ValueError as error:
        raise ValueError(
            f"{path}, {where}: the caption looks like a list, but is none in JSON ({error}): write "
            '["one caption", "another"], or a column for each'
        ) from error


def _json_entries(path: Path, content: Any, keys: Keys, taken: Taken) -> Iterator[Entry]:
    """A list of captions or objects, COCO's annotations, or {image: caption or list of captions}."""
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        yield from _coco_entries(path, content, taken)
        return
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        raise ValueError(
            f"{path} looks like a split file of Karpathy's, of train, val and test alike: read it with dataset=coco "
            f"(flickr30k, flickr8k_karpathy) dataset.annotations={path.name} dataset.source={path.parent}, and with "
            "dataset.missing_images=leave_out if its photos are not there"
        )
    if isinstance(content, dict):
        _check_mapping(path, content, keys)
        for name, captions in content.items():
            taken.rows += 1
            where = f"entry {name!a}"
            values = captions if isinstance(captions, list) else [captions]
            yield Entry(where, values, checked_id(path, where, name))
        return
    if not isinstance(content, list):
        raise ValueError(f"{path} must hold a list or an object of captions, not {json.dumps(content)[:60]}")
    for number, entry in enumerate(content):
        taken.rows += 1
        where = f"entry {number}"
        yield Entry(where, [entry]) if isinstance(entry, str) else _entry(path, where, entry, keys, taken)


def _check_mapping(path: Path, content: dict, keys: Keys) -> None:
    """Refuse an object that is not {image: captions} but one entry, columns, or texts by split."""
    texts = [keys.text] if isinstance(keys.text, str) else keys.text or ()
    named = [name for name in (*texts, *IMAGE_NAMES) if name in content]
    if named and len(content) > 1:
        raise ValueError(
            f"{path} is one object with the field {named[0]!r}, where {{image: captions}} is read: put an object for "
            "each caption into a list, or on a line of its own in a file called .jsonl"
        )
    splits = [name for name in content if "+" not in name and name.strip() and canonical_split(name) in SPELLINGS]
    if len(splits) == len(content) and any(map(is_held_out, splits)):
        raise ValueError(
            f"{path} holds texts by split ({', '.join(map(ascii, splits))}), and all of it would be read as one: put "
            "each into a file of its own, for dataset.texts.train=..., dataset.texts.val=... and dataset.texts.test=..."
        )


def _coco_entries(path: Path, content: dict, taken: Taken) -> Iterator[Entry]:
    names: dict[str, str] = {}
    for number, image in enumerate(entries_of(path, content, "images") if "images" in content else []):
        where = f"images[{number}]"
        image_id = checked_id(path, where, field(path, where, image, "id"))
        names[image_id] = checked_id(path, where, image.get("file_name") or image_id)
    for number, annotation in enumerate(content["annotations"]):
        taken.rows += 1
        where = f"annotations[{number}]"
        image_id = checked_id(path, where, field(path, where, annotation, "image_id"))
        yield Entry(where, [field(path, where, annotation, "caption")], names.get(image_id, image_id))


def _check_first(path: Path, number: int, line: str) -> None:
    """Refuse a first line that is the header of an unknown table, or markup, such as a server's page of an error."""
    where = f"{path}, line {number}"
    if NAMES_ALONE.fullmatch(line):
        raise ValueError(
            f"{where} looks like the header of a table ({line.strip()[:60]}), and the file is read as one "
            "caption per line: name the column of the captions with dataset.text_key=... and call the file .csv or "
            ".tsv, or put a blank behind each comma if it is a caption"
        )
    if MARKUP.match(line):
        raise ValueError(
            f"{where} is HTML or XML, and the file is read as one caption per line: fetch or write it again"
        )


def _check_plain(path: Path, number: int, line: str) -> None:
    """Refuse a line that is no caption but a record of another format."""
    text, table = line.strip(), "call it .csv and give it a header line, such as image,caption"
    is_json = text in "[{" or text.startswith(('{"', '["', "[{")) or (text.startswith("{") and text.endswith("}"))
    for is_record, what, remedy in (
        ("\t" in text, "holds a tab", "call it .tsv and give it a header line, or put blanks for tabs"),
        (NAMED_PICTURE.match(text), "begins with the name of a picture", table),
        (
            NUMBERED.match(text),
            f"begins with a number and a delimiter ({text[:40]!r})",
            f"{table}, or put a blank behind the comma",
        ),
        (text.startswith("['") and text.endswith("']"), "is a list of Python's", "put one caption on each line"),
        (is_json, "looks like JSON", "call it .jsonl (one object per line) or .json"),
    ):
        if is_record:
            raise ValueError(f"{path}, line {number} {what}, and the file is read as one caption per line: {remedy}")
