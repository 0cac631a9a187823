"""Half surrogate pairs, such as "\\ud83d": JSON and Python's strings can hold them, text in UTF-8 cannot."""

from __future__ import annotations

HALF_REPLACED = "\ufffd"  # the replacement character


def whole_characters(text: str) -> str:
    """`text` with U+FFFD in the place of each half surrogate pair; two halves that fit become their character."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def count_halves(text: str) -> int:
    """The number of characters that `whole_characters` replaces."""
    return 0 if is_whole(text) else whole_characters(text).count(HALF_REPLACED) - text.count(HALF_REPLACED)


def is_whole(text: str) -> bool:
    """Whether the text has no half surrogate pair, which no file, table or tokenizer can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
