"""A report on a data set's tables: what each split holds, and what is suspicious though it can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from common.arrow import compute as pc
from embedding_space.datasets.records import say, things_of
from embedding_space.splits import canonical_split
from embedding_space.tables import Tables

SHOWN = 3  # ids of photos without captions to print


def report_tables(tables: Tables) -> None:
    """Print each split's rows, repeated captions of a photo, and photos without captions in a split where others have
    some; no evaluation can score those."""
    things = things_of(tables.images["path"][0].as_py()) if len(tables.images) else "photos"
    images, captions = (Counter(table["split"].to_pylist()) for table in (tables.images, tables.captions))
    spellings: dict[str, list[str]] = {}
    for written in dict.fromkeys((*images, *captions)):
        spellings.setdefault(canonical_split(written), []).append(written)
    for split, names in spellings.items():
        photos, texts = (sum(counts[name] for name in names) for counts in (images, captions))
        spelled = "" if names == [split] else f" (written as {', '.join(sorted(names))})"
        say(f"{tables.root}: {split}{spelled}: {photos:,} {things}, {texts:,} captions")
        without = photos_without_captions(tables, names)
        if photos > len(without) > 0:
            ids = ", ".join(without[:SHOWN]) + (", ..." if len(without) > SHOWN else "")
            say(f"  {things} without a caption, which no evaluation can score: {len(without):,} ({ids})")
    pairs = tables.captions.filter(pc.is_valid(tables.captions["image_row"]))
    twice = len(pairs) - len(pairs.group_by(["image_row", "caption"]).aggregate([]))
    if twice:
        say(f"{tables.root}: captions that one of the {things} has twice: {twice:,}")


def photos_without_captions(tables: Tables, splits: Sequence[str]) -> list[str]:
    """Ids of the images that are marked with one of `splits` and have no caption that is, in table order."""
    if not tables.images.num_rows:
        return []  # pyarrow before 18 ends the process where is_in is asked about nothing
    names = pa.array(splits)
    rows = pc.indices_nonzero(pc.is_in(tables.images["split"], names))
    captioned = tables.captions["image_row"].filter(pc.is_in(tables.captions["split"], names))
    alone = rows.filter(pc.invert(pc.is_in(rows.cast(pa.int64()), captioned.combine_chunks())))
    return tables.images["image_id"].take(alone).to_pylist()
