"""Folders of generated pictures: two ways to say the sentences, and what is refused."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evaluation.pictures.errors import UnreadablePictures
from evaluation.pictures.generated import read_generated


def test_images_json_gives_order_sentences_ids_and_facts(write_pictures):
    folder = write_pictures("made", ["red", "blue", "red"], facts={"encoder": {"name": "colors"}, "seed": 4})
    made = read_generated(folder)
    assert made.files == ["000.png", "001.png", "002.png"]
    assert made.sentences == ["a picture in red", "a picture in blue", "a picture in red"]
    assert made.image_ids == ["0", "1", "2"] and made.caption_ids == [None] * 3
    assert made.facts == {"encoder": {"name": "colors"}, "seed": 4} and made.encoders == [{"name": "colors"}]
    assert made.different_sentences == ["a picture in red", "a picture in blue"]
    assert made.sentence_rows.tolist() == [0, 1, 0]
    assert made.sentences_from == "images.json" and made.least_side == 16 and made.left_over == []


def test_a_bare_list_is_enough_and_pictures_beside_it_are_named(write_pictures):
    folder = write_pictures("made", ["red", "blue"])
    (folder / "images.json").write_text(json.dumps([{"file": "001.png", "sentence": " a picture in blue "}]))
    made = read_generated(folder)
    assert (made.files, made.sentences, made.left_over) == (["001.png"], ["a picture in blue"], ["000.png"])


def test_without_it_each_picture_says_its_own_sentence(tmp_path):
    for number, sentence in enumerate(["a dog", "a cat"]):
        text = PngInfo()
        text.add_text("sentence", sentence)
        Image.new("RGB", (8, 9)).save(tmp_path / f"{number}.png", pnginfo=text)
    made = read_generated(tmp_path)
    assert (made.files, made.sentences) == (["0.png", "1.png"], ["a dog", "a cat"])
    assert made.sentences_from == "the pictures' own text" and made.least_side == 8


def test_pictures_without_a_sentence_are_counted_and_named(write_pictures):
    with pytest.raises(ValueError, match=r"2 of 2 pictures in .*made do not say .* first: 000\.png: write images"):
        read_generated(write_pictures("made", ["red", "blue"], sentences=False))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "images.json"),
        ('{"pictures": []}', "must hold a list, or one as `images`"),
        ("[]", "lists no pictures"),
        ('[{"file": "000.png"}]', "entry 0 must be an object with `sentence`"),
        ('[{"file": 7, "sentence": "a"}]', "`file` must name a picture"),
        ('[{"file": "000.png", "sentence": " "}]', "has a blank sentence"),
        ('[{"file": "000.png", "sentence": "a"}, {"file": "000.png", "sentence": "b"}]', "is there already"),
        ('[{"file": "7.png", "sentence": "a"}]', r"1 of the 1 pictures .* are not there; the first: 7\.png"),
    ],
)
def test_a_malformed_list_is_refused(write_pictures, content, message):
    folder = write_pictures("made", ["red"])
    (folder / "images.json").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_generated(folder)


def test_folders_that_are_missing_or_empty_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere \(option pictures\)"):
        read_generated(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no picture in"):
        read_generated(tmp_path)


def test_a_damaged_picture_is_refused_by_name(write_pictures):
    folder = write_pictures("made", ["red", "blue"])
    (folder / "001.png").write_bytes(b"no picture")
    with pytest.raises(UnreadablePictures, match=r"1 of 2 generated pictures cannot be read; the first: .*001\.png"):
        _ = read_generated(folder).least_side


def test_the_hash_knows_pixels_and_sentences(write_pictures):
    folder = write_pictures("made", ["red", "blue"])
    before = read_generated(folder).hash
    assert read_generated(folder).hash == before
    Image.new("RGB", (16, 16), "white").save(folder / "000.png")
    changed = read_generated(folder).hash
    (folder / "images.json").write_text((folder / "images.json").read_text().replace("in blue", "in red"))
    assert len({before, changed, read_generated(folder).hash}) == 3
