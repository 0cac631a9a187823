"""What a caption says of motion, whoever wrote it: kind, direction, and what the weather does."""

from __future__ import annotations

import re
from collections.abc import Iterable

from demo_world.motion.scene import Motion
from demo_world.motion.verbs import CHANGES, KIND_OF_FORM, TO_SIDE

_CHANGE_OF = {words: change for change, what in CHANGES.items() for words in (*what[2], *what[3])}
_SIDE_OF = {words: side for side, phrases in TO_SIDE.items() for words in phrases}


def _longest_first(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})\b")


_CHANGE = _longest_first(_CHANGE_OF)
_SIDE = re.compile(rf"{_longest_first(_SIDE_OF).pattern}(?! of\b)")  # "to the left of" is no direction
_FORM = _longest_first(KIND_OF_FORM)


def motion_of(caption: str) -> Motion:
    """The motion that a caption says; None for what it does not say. The first that is said counts."""
    text = " ".join(caption.lower().split())
    change = _CHANGE.search(text)
    text = _CHANGE.sub("", text)
    form, side = _FORM.search(text), _SIDE.search(text)
    return Motion(
        kind=KIND_OF_FORM[form[0]] if form else None,
        direction=_SIDE_OF[side[0]] if side else None,
        change=_CHANGE_OF[change[0]] if change else None,
    )
