"""Endings of files say their medium."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from embedding_space.media import ENDINGS, has_medium, medium_of


def test_an_ending_is_of_one_medium():
    assert all(not {*one} & {*other} for one, other in combinations(ENDINGS.values(), 2))
    assert all(ending == ending.lower() and ending.startswith(".") for of in ENDINGS.values() for ending in of)


def test_endings_say_the_medium_whatever_their_case():
    names = {"a.JPG": "image", "b.b.Ogg": "sound", "c/d.MP4": "video", "e.txt": None, "mp4": None, "f.gif": "image"}
    assert {name: medium_of(Path(name)) for name in names} == names
    assert has_medium("f.GIF", "video") and has_medium("f.gif", "image") and not has_medium("f.png", "video")
