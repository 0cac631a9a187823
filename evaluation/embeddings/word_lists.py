"""Lists of words and of templates, from options or from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.text_files import numbered_lines


def word_list(option: str, words: str | Sequence[str]) -> list[str]:
    """The entries of a list, or of a text file with one a line; blank lines do not count.

    Raises FileNotFoundError when there is no such file, ValueError for one that is empty or no UTF-8 text.
    """
    if not isinstance(words, str):
        return [str(entry) for entry in words]
    if not Path(words).is_file():
        raise FileNotFoundError(f"There is no file {words} (option {option})")
    try:
        entries = [line.strip() for _, line in numbered_lines(Path(words))]
    except ValueError as error:
        raise ValueError(f"{words} (option {option}) is no UTF-8 text: save it as UTF-8 ({error})") from error
    if not entries:
        raise ValueError(f"{words} (option {option}) is empty: put one entry on each line")
    return entries
