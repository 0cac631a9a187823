"""Captions against the text that their decoder was trained on: what is new, what is copied, what leaked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from embedding_space.store import EmbeddingStore
from evaluation.captions.words import bare_words

_CAPTIONS_AT_ONCE = 65_536
COPIED_AT_MOST = 0.5  # a greater share of captions that stand in the training text is worth a warning


def compare_with_training_text(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]], store: EmbeddingStore, split: str
) -> tuple[dict, list[str]]:
    """Figures and warnings about captions {image_id: caption} of a decoder that was trained on `split` of `store`.

    Captions are compared as `bare_words`, the training text piece by piece: memory does not grow with it.

    copied_captions: the share of captions that stand in the training text word for word; novel_captions: the others.
        A short true caption may well be one that somebody wrote, so references_in_it, the same share of the
        references, is the measure for it.
    shared_image_ids: images that have captions in the training text, or are of its split, among those captioned.

    Raises ValueError for an unknown split.
    """
    own = bare_words(list(captions.values()))
    theirs = bare_words([caption for image_id in captions for caption in references[image_id]])
    rows = store.tables.caption_rows(split)
    found = _found(pa.chunked_array([own, theirs]), store.tables.captions["caption"], pa.array(rows))
    copied, leaked = (_share(part, found) for part in (own, theirs))
    shared = len(_training_ids(store, split) & set(captions))
    figures = {
        "dataset": store.path.parent.name,
        "split": split,
        "captions": len(rows),
        "copied_captions": copied,
        "novel_captions": 1 - copied,
        "references_in_it": leaked,
        "shared_image_ids": shared,
    }
    where = f"the training text ({store.path.parent.name}, split {split})"
    warnings = []
    if shared:
        warnings.append(
            f"{shared} of the {len(captions)} images captioned have the ids of images of {where}: unless the two data "
            "sets number their images alike by chance, the decoder has read captions of the images it is tested on"
        )
    if copied > COPIED_AT_MOST:
        warnings.append(
            f"{copied:.0%} of the captions stand word for word in {where}, as do {leaked:.0%} of the references"
        )
    return figures, warnings


def _found(wanted: pa.ChunkedArray, captions: pa.ChunkedArray, rows: pa.Array) -> pa.Array:
    """Those of `wanted`, bare words, that are in `rows` of `captions`."""
    wanted = pc.unique(wanted)
    wanted = wanted.filter(pc.not_equal(wanted, ""))
    parts = []
    for start in range(0, len(rows), _CAPTIONS_AT_ONCE):
        part = bare_words(captions.take(rows[start : start + _CAPTIONS_AT_ONCE]))
        parts.append(pc.unique(part.filter(pc.is_in(part, wanted))))
    return pc.unique(pa.chunked_array(parts, pa.string()))


def _share(captions: pa.Array, found: pa.Array) -> float:
    return pc.mean(pc.is_in(captions, found)).as_py()


def _training_ids(store: EmbeddingStore, split: str) -> set[str]:
    tables = store.tables
    captioned = pc.unique(tables.captions["image_row"].take(pa.array(tables.caption_rows(split)))).drop_null()
    ids = set(tables.images["image_id"].take(captioned).to_pylist())
    return ids | (set(store.image_ids(split)) if tables.has("images", split) else set())
