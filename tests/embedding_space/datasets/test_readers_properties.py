"""Each reader gives back what its format's writer wrote, and refuses or reports damage; it never shortens captions."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from common.characters import whole_characters
from embedding_space.datasets.coco import read_coco
from embedding_space.datasets.folders import read_captioned_folder
from embedding_space.datasets.karpathy import read_karpathy
from embedding_space.datasets.records import Photo
from embedding_space.datasets.texts import read_texts

Captions = list[list[str]]  # of photo 0.jpg, 1.jpg ...
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
# Not the byte order mark, which begins lines; not what looks like a list in a field of text.
SIGNS = st.characters(exclude_characters="\ufeff\0[", exclude_categories=["Cs"])
ANY = st.text(st.one_of(SIGNS, st.sampled_from("\",;|\t\n\r'\\ #a.{}")), min_size=1, max_size=12).filter(
    lambda text: text.strip()
)
LINE = ANY.filter(lambda text: not re.search(r"[\t\n\r|]", text))


def of_photos(caption: st.SearchStrategy[str]) -> st.SearchStrategy[Captions]:
    return st.lists(st.lists(caption, min_size=1, max_size=3), min_size=1, max_size=4)


def clean(captions: Captions) -> Captions:
    return [[" ".join(whole_characters(caption).split()) for caption in some] for some in captions]


def name(number: int) -> str:
    return f"photos/{number}.jpg"


def rows(captions: Captions) -> Iterator[tuple[str, int, str]]:
    return ((name(n), k, caption) for n, some in enumerate(captions) for k, caption in enumerate(some))


def jsonl(captions: Captions) -> str:
    entries = ({"image": image, "caption": caption} for image, _, caption in rows(captions))
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def written(captions: Captions, dialect: str) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, dialect)
    writer.writerow(("image", "number", "caption"))
    writer.writerows(rows(captions))
    return file.getvalue()


def bars(captions: Captions) -> str:
    lines = (f"{image}| {number}| {caption}\n" for image, number, caption in rows(captions))
    return "image_name| comment_number| comment\n" + "".join(lines)


def tokens(captions: Captions) -> str:
    return "".join(f"{image}#{number}\t{caption}\n" for image, number, caption in rows(captions))


def karpathy(captions: Captions) -> str:
    images = [
        {"filename": name(n), "split": "train", "cocoid": n, "sentences": [{"raw": caption} for caption in some]}
        for n, some in enumerate(captions)
    ]
    return json.dumps({"images": images, "dataset": "coco"})


def coco(captions: Captions) -> str:
    images = [{"id": n, "file_name": name(n)} for n in range(len(captions))]
    annotations = [{"image_id": n, "caption": caption} for n, some in enumerate(captions) for caption in some]
    return json.dumps({"annotations": annotations, "images": images})


def folder(file: str) -> Callable[[Path], Iterator[Photo]]:
    return lambda path: read_captioned_folder(path, file, ".", "train", "image", "caption", "split")


FORMATS = {
    "jsonl": ("a.jsonl", jsonl, folder("a.jsonl"), ANY),
    "csv": ("a.csv", lambda captions: written(captions, "excel"), folder("a.csv"), ANY),
    "tsv": ("a.tsv", lambda captions: written(captions, "excel-tab"), folder("a.tsv"), LINE),
    "bars": ("results.csv", bars, folder("results.csv"), LINE.filter(lambda text: '"' not in text)),
    "token": ("Flickr8k.token.txt", tokens, folder("Flickr8k.token.txt"), LINE),
    "karpathy": ("a.json", karpathy, lambda path: read_karpathy(path, "a.json", "."), st.text(min_size=1)),
    "coco": ("a.json", coco, lambda path: read_coco(path, {"train": "a.json"}, {"train": "."}), st.text(min_size=1)),
}


def read(format: str, content: str) -> Captions:
    file, _, reader, _ = FORMATS[format]
    with tempfile.TemporaryDirectory() as path:
        (Path(path) / file).write_bytes(content.encode())
        return [list(photo.captions) for photo in reader(Path(path))]


@pytest.mark.parametrize("format", FORMATS)
def test_what_a_formats_writer_wrote_comes_back(format):
    _, write, _, caption = FORMATS[format]

    @FEW
    @given(of_photos(caption))
    def holds(captions):
        captions = [[text for text in some if text.strip("\0")] for some in captions]
        assume(all(captions) and not any("\0" in text for some in captions for text in some))
        try:
            result = read(format, write(captions))
        except ValueError as error:
            result = str(error)
        if isinstance(result, str):  # a field over several lines, one of which could be a row
            assert "a row of its own" in result and re.search(r"[\n\r][^\n\r]*(,|\.)", write(captions))
        else:
            assert result == [[text for text in some if text] for some in clean(captions)]

    holds()


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_is_cut_short_is_refused_or_has_whole_lines(format):
    _, write, _, _ = FORMATS[format]
    words = st.text("abc ,\"'", min_size=1, max_size=8).map(lambda text: f"x{text}y")
    words = words.filter(lambda text: format != "bars" or '"' not in text)

    @FEW
    @given(of_photos(words), st.data())
    def holds(captions, data):
        content = write(captions)
        cut = content[: data.draw(st.integers(0, len(content.rstrip()) - 1))]
        try:
            found = [caption for some in read(format, cut) for caption in some]
        except ValueError:
            return
        everything = [caption for some in clean(captions) for caption in some]
        whole = found[:-1] if format in ("bars", "token", "csv", "tsv") else found  # text can be cut unseen in its last
        assert format not in ("karpathy", "coco") and whole == everything[: len(whole)]

    holds()


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv", "bars", "token"])
@pytest.mark.parametrize("sign", ['"', "delimiter"])
def test_a_sign_that_is_lost_is_refused_or_costs_no_other(format, sign):
    _, write, _, _ = FORMATS[format]
    delimiter = {"jsonl": ":", "csv": ",", "bars": "|"}.get(format, "\t")
    sign = delimiter if sign == "delimiter" else sign
    words = st.text("ac \"'" + (",.\n" if format == "csv" else ""), min_size=1, max_size=8)
    words = words.map(lambda text: f"x{text}y")

    @FEW
    @given(of_photos(words), st.data())
    def holds(captions, data):
        content = write(captions)
        places = [found.start() for found in re.finditer(re.escape(sign), content)]
        assume(places)
        place = data.draw(st.sampled_from(places))
        try:
            found = read(format, content[:place] + content[place + 1 :])
        except ValueError:
            return
        bare = [[re.sub(r'[\s",]', "", text) for text in some] for some in found]
        assert bare == [[re.sub(r'[\s",]', "", text) for text in some] for some in captions]

    holds()


@FEW
@given(st.lists(LINE.map(lambda text: f"x {text}"), min_size=1, max_size=6))
def test_a_caption_a_line_comes_back(captions):
    with tempfile.TemporaryDirectory() as path:
        (Path(path) / "a.txt").write_bytes("\n".join(captions).encode())
        found = [photo.captions for photo in read_texts(str(Path(path) / "a.txt"), "train", "texts.train", None, None)]
    assert [list(some) for some in found] == clean([[caption] for caption in captions])


@FEW
@given(st.lists(ANY, min_size=1, max_size=4), st.booleans())
def test_img2datasets_texts_come_back(captions, with_json):
    with tempfile.TemporaryDirectory() as path:
        shard = Path(path) / "00000"
        shard.mkdir()
        for number, caption in enumerate(captions):
            (shard / f"{number:09}.jpg").write_bytes(b"a picture")
            (shard / f"{number:09}.txt").write_bytes(caption.encode())
            if with_json:
                (shard / f"{number:09}.json").write_text(json.dumps({"caption": caption, "status": "success"}))
        try:
            photos = list(read_captioned_folder(Path(path), None, ".", "train", "image", "caption", "split"))
        except ValueError as error:
            photos, refusal = None, str(error)
    if photos is None:
        assert "may be one caption or several" in refusal and not with_json
        assert any(re.search(r"[\r\n]", caption.strip()) for caption in captions)
        return
    assert [list(photo.captions) for photo in photos] == clean([[caption] for caption in captions])
    assert [photo.image_id for photo in photos] == [f"00000/{n:09}.jpg" for n in range(len(captions))]
