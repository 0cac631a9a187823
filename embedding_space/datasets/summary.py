"""What a data set's tables hold, told split by split, and what is wrong with them though they can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from embedding_space.datasets.records import Photo, say
from embedding_space.splits import canonical_split
from embedding_space.tables import Tables

SHOWN = 3  # ids of photos without captions that are named


class SplitNames:
    """Gives photos their split's canonical name. read_as: the names that this changed, {canonical: names}."""

    def __init__(self):
        self.read_as: dict[str, set[str]] = {}

    def canonical(self, photo: Photo) -> Photo:
        """The photo under its split's canonical name."""
        split = canonical_split(photo.split)
        if split == photo.split:
            return photo
        self.read_as.setdefault(split, set()).add(photo.split)
        return replace(photo, split=split)


def tell_tables(tables: Tables, read_as: Mapping[str, set[str]] | None = None) -> None:
    """Print the rows of each split, captions that a photo has twice, and photos without captions in a split where
    others have some, which no evaluation can score."""
    images, captions = (Counter(table["split"].to_pylist()) for table in (tables.images, tables.captions))
    for split in dict.fromkeys((*images, *captions)):
        names = sorted((read_as or {}).get(split, ()))
        spelled = f" (written as {', '.join(names)})" if names else ""
        say(f"{tables.root}: {split}{spelled}: {images[split]:,} photos, {captions[split]:,} captions")
        without = photos_without_captions(tables, split)
        if images[split] > len(without) > 0:
            ids = ", ".join(without[:SHOWN]) + (", ..." if len(without) > SHOWN else "")
            say(f"  photos without a caption, which no evaluation can score: {len(without):,} ({ids})")
    pairs = tables.captions.filter(pc.is_valid(tables.captions["image_row"]))
    twice = len(pairs) - len(pairs.group_by(["image_row", "caption"]).aggregate([]))
    if twice:
        say(f"{tables.root}: captions that a photo has twice: {twice:,}")


def photos_without_captions(tables: Tables, split: str) -> list[str]:
    """Ids of the images whose split is just `split` and that no caption of that split belongs to, in table order."""
    rows = pc.indices_nonzero(pc.equal(tables.images["split"], split))
    own = tables.captions["image_row"].filter(pc.equal(tables.captions["split"], split))
    lonely = rows.filter(pc.invert(pc.is_in(rows.cast(pa.int64()), own.combine_chunks())))
    return tables.images["image_id"].take(lonely).to_pylist()
