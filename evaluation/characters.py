"""Half surrogate pairs, such as "\\ud83d": JSON and Python's strings can hold them, text in UTF-8 cannot."""

from __future__ import annotations

import re

_HALF = re.compile("[\ud800-\udfff]")


def whole_characters(text: str) -> str:
    """`text` with U+FFFD, the replacement character, in the place of each half surrogate pair."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def count_halves(text: str) -> int:
    """The number of characters that `whole_characters` replaces."""
    return 0 if text.isascii() else len(_HALF.findall(text))
