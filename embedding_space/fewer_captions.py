"""Tables as if a data set had fewer captions to learn from, to measure how many a method needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from common.arrow import compute as pc
from embedding_space.tables import Tables

LEFT_OUT = "left_out"  # the split of the captions that are not drawn


def with_fewer_captions(tables: Tables, text_split: str, count: int) -> Tables:
    """`tables` with `count` of the captions of `text_split`; the others are of the split `left_out`.

    They are drawn once and for all, and those of a smaller count are among those of a larger one. Images, held-out
    captions and all rows stay.

    Raises:
        ValueError: `count` is not between 1 and the number of captions.
    """
    rows = tables.caption_rows(text_split)
    if not 1 <= count <= len(rows):
        raise ValueError(
            f"corpus_captions={count} must be in 1..{len(rows)}, the captions of {tables.root}'s split {text_split!r}"
        )
    left_out = np.zeros(len(tables.captions), bool)
    left_out[rows[np.random.default_rng(0).permutation(len(rows))[count:]]] = True
    splits = pc.if_else(pa.array(left_out), LEFT_OUT, tables.captions["split"])
    column = tables.captions.schema.get_field_index("split")
    return replace(tables, captions=tables.captions.set_column(column, "split", splits))
