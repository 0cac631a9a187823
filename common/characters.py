r"""Text for other programs: on one line, without half surrogate pairs such as "\ud83d", which UTF-8 lacks."""

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


def one_line(text: object, limit: int = 300) -> str:
    """The text, such as another library's error, on one line and no longer than `limit` characters."""
    return " ".join(str(text).split())[:limit]


def is_identifier(value: object) -> bool:
    """Whether the value can be an image's or a caption's id: an integer, or text that is not blank."""
    return isinstance(value, int | str) and not isinstance(value, bool) and bool(str(value).strip())
