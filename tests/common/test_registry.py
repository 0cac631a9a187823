"""Names that options give are looked up, or refused with the known ones and the nearest."""

from __future__ import annotations

import pytest

from common.registry import look_up

KNOWN = {"word": 1, "bytes": 2}


def test_a_known_name_gives_its_value():
    assert look_up("bytes", KNOWN, "tokenizer", "kind") == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("bites", r"^Unknown tokenizer 'bites' \(option kind\); known: word, bytes; did you mean bytes\?$"),
        ("x", r"^Unknown tokenizer 'x' \(option kind\); known: word, bytes$"),
        (None, r"^Unknown tokenizer None \(option kind\); known: word, bytes$"),
        ([], r"^Unknown tokenizer \[\]"),
    ],
)
def test_an_unknown_name_is_refused_with_a_hint(name, told):
    with pytest.raises(ValueError, match=told):
        look_up(name, KNOWN, "tokenizer", "kind")
