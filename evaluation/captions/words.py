"""Captions as bare words, for counting and comparing without Java: lower case, no punctuation, "t-shirt" whole."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from common.arrow import compute as pc
from common.characters import whole_characters

# Apostrophes and hyphens belong to a word that they are within.
_PASSES = ((r"[^\p{L}\p{M}\p{N}'’-]+", " "), (r"(?:^|\s)['’-]+|['’-]+(?:\s|$)", " "), (r"\s+", " "))


def bare_words(captions: Sequence[str] | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The words of each caption, joined by single spaces; "" where there are none."""
    if not isinstance(captions, pa.ChunkedArray):
        captions = pa.array([whole_characters(caption) for caption in captions], pa.string())
    words = pc.utf8_lower(captions)
    for pattern, replacement in _PASSES:
        words = pc.replace_substring_regex(words, pattern, replacement)
    return pc.utf8_trim_whitespace(words)
