"""Warnings that are worth saying once."""

from __future__ import annotations

import logging
from functools import cache


@cache
def warn_once(sentence: str) -> None:
    """Log `sentence` as a warning the first time; say nothing when it comes again."""
    logging.getLogger(__name__).warning(sentence)
