"""What an entry of a file of captions must hold: the name of an image and its caption, or captions."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from common.characters import count_halves, is_identifier, whole_characters
from evaluation.reading import CAPTION_FIELDS, shown

logger = logging.getLogger(__name__)

CAPTIONS_FIELDS = ("captions", "references")
_NUMBERED = re.compile(r"(caption|reference|text)[ _-]?\d+")


class EntryReader:
    """Checks the entries of one file, and counts the half characters that it replaces in them.

    Its errors are ValueErrors that name the file, the entry and what is wrong.
    """

    def __init__(self, path: str | Path):
        self.path = path
        self._halves, self._first = 0, ""

    def field(self, where: str, entry: Any, name: str, *others: str) -> Any:
        """The first of the fields that `entry` has."""
        if isinstance(entry, dict):
            for known in (name, *others):
                if known in entry:
                    return entry[known]
        hint = f" (or {', '.join(others)})" if others else ""
        raise self.error(where, f"must be an object with `{name}`, not {shown(entry)}", hint)

    def image_id(self, where: str, value: Any) -> str:
        """An image's id or file name; an integer is its decimal string."""
        if not is_identifier(value):
            raise self.error(where, f": an image id must be an integer or a string, not blank; got {shown(value)}")
        return str(value)

    def caption(self, where: str, value: Any) -> str:
        """A caption, with U+FFFD for half characters."""
        if not isinstance(value, str):
            raise self.error(where, f": a caption must be a string, not {shown(value)}")
        if halves := count_halves(value):
            self._first = self._first or where
            self._halves += halves
        return whole_characters(value)

    def one_caption(self, where: str, value: Any) -> str:
        """The caption of a prediction, be it as `"…"`, `{"caption": "…"}` or the only one of a list of either."""
        if isinstance(value, list):
            if len(value) != 1:
                raise self.error(where, f": one caption an image is scored, not {len(value)}: {shown(value)}")
            [value] = value
        return self.caption(where, value["caption"] if isinstance(value, dict) and "caption" in value else value)

    def captions(self, where: str, value: Any) -> list[str]:
        """An image's captions, from a list of `"…"` or `{"caption": "…"}`."""
        if not isinstance(value, list):
            raise self.error(where, f" must have a list of captions, not {shown(value)}")
        return [self.caption(where, v["caption"] if isinstance(v, dict) and "caption" in v else v) for v in value]

    def references(self, where: str, entry: Any) -> list[str]:
        """The captions of a line or an entry: of its caption, its list of captions, or its numbered captions."""
        if isinstance(entry, dict):
            for name in CAPTIONS_FIELDS:
                if name in entry:
                    return self.captions(where, entry[name])
            numbered = [value for name, value in entry.items() if _NUMBERED.fullmatch(name)]
            if numbered and not any(name in entry for name in CAPTION_FIELDS):
                return [self.caption(where, value) for value in numbered if value not in ("", None)]
        return [self.caption(where, self.field(where, entry, *CAPTION_FIELDS))]

    def warn_of_halves(self) -> None:
        """Say how many half characters were replaced, if any."""
        if self._halves:
            logger.warning(
                "%s: %d half characters (of surrogate pairs) are replaced by U+FFFD; UTF-8 has none; the first: %s",
                self.path, self._halves, self._first,
            )  # fmt: skip

    def error(self, where: str, what: str, hint: str = "") -> ValueError:
        joint = "" if what.startswith(":") else " "
        return ValueError(f"{self.path}, {where}{joint}{what.lstrip()}{hint}")
