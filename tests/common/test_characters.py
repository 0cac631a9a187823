"""Half characters are replaced and counted; halves that fit are one character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.characters import count_halves, is_whole, whole_characters


@pytest.mark.parametrize(
    ("text", "whole", "halves"),
    [
        ("a dog", "a dog", 0),
        ("a dog \U0001f436", "a dog \U0001f436", 0),
        ("a dog \ud83d", "a dog \ufffd", 1),
        ("\udc36\ud83d", "\ufffd\ufffd", 2),
        ("\ud83d\udc36", "\U0001f436", 0),
        ("\ufffd \ud83d", "\ufffd \ufffd", 1),
    ],
)
def test_half_characters_are_replaced_and_counted(text, whole, halves):
    assert whole_characters(text) == whole and count_halves(text) == halves


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_becomes_whole_and_whole_text_stays(text):
    whole = whole_characters(text)
    assert is_whole(whole) and whole_characters(whole) == whole
    assert whole == text or not is_whole(text)
