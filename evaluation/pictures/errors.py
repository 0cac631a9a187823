"""What may be wrong with pictures on disk."""

from __future__ import annotations

from collections.abc import Sequence


class UnreadablePictures(ValueError):
    """Pictures that are to be compared cannot be read: a measure over the others would be one of another set.

    Args:
        reasons: one sentence for each, which names the file.
        total: how many there are, readable ones included.
        kind: "generated" or "reference".
    """

    def __init__(self, reasons: Sequence[str], total: int, kind: str):
        remedy = {
            "generated": "generate them again, or take them out of the folder and off its images.json",
            "reference": "get these files again, or take them out of the folder or the data set",
        }[kind]
        super().__init__(
            f"{len(reasons):,} of {total:,} {kind} pictures cannot be read; the first: {reasons[0]}: {remedy}"
        )
