"""Distinct captions that training cannot tell apart, for their embeddings or their tokens are the same."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
from torch import Tensor

from image_captioning.data import CaptionTokens

logger = logging.getLogger(__name__)


def warn_of_collapse(captions: Sequence[str], tokens: CaptionTokens, rows: Tensor | None) -> tuple[int, int]:
    """Say how many distinct captions share their embedding, and how many their tokens, with another one.

    Letter case and white space make no caption distinct.

    Args:
        captions: M of them.
        tokens: theirs, on the CPU.
        rows: (M, D), the embedding of each, on the CPU; None where embeddings are not the captions' own.

    Returns both counts.
    """
    distinct = [" ".join(caption.split()).casefold() for caption in captions]
    flat, starts, lengths = (part.numpy() for part in (tokens.tokens, tokens.starts, tokens.lengths))
    ends = starts + lengths
    texts = _merged(distinct, (flat[start:end] for start, end in zip(starts, ends, strict=True)))
    embedded = [] if rows is None else _merged(distinct, rows.numpy())
    for same, what, why in (
        (embedded, "embedding", "the encoder cut them before they differ, or sees no difference"),
        (texts, "tokens", "they were cut at decoder.max_tokens, or rare words are the unknown one"),
    ):
        if same:
            logger.warning(
                "%s of %s distinct training captions have the same %s as another (%s), so that no decoder can "
                "tell them apart; such as %r and %r",
                f"{sum(map(len, same)):,}", f"{len(set(distinct)):,}", what, why, *(text[:80] for text in same[0][:2]),
            )  # fmt: skip
    return sum(map(len, embedded)), sum(map(len, texts))


def _merged(captions: Sequence[str], values: Iterable[np.ndarray]) -> list[list[str]]:
    """The groups of two or more different captions whose values are the same, bit by bit."""
    first: dict[bytes, str] = {}
    groups: dict[bytes, dict[str, None]] = {}
    for caption, value in zip(captions, values, strict=True):
        key = blake2b(value.tobytes(), digest_size=16).digest()
        if (other := first.setdefault(key, caption)) != caption:
            groups.setdefault(key, {other: None})[caption] = None
    return [list(group) for group in groups.values()]
