"""Captions against the text that their decoder was trained on: what is new, copied or leaked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from common.arrow import compute as pc
from embedding_space.store import EmbeddingStore
from evaluation.captions.words import bare_words

_CAPTIONS_AT_ONCE = 65_536
COPIED_AT_MOST = 0.5  # a greater share of captions that are in the training text is worth a warning


@dataclass(frozen=True)
class TrainingSource:
    """Where the text is that a decoder was trained on.

    store, split: of the text; without a store, `unavailable` says why it is not known.
    elsewhere: whether that is because it is in another store.
    encoder: whose embeddings the decoder was trained on, if that is known.
    not_compared: the provenance of what the decoder was trained on before that, and which captions are not compared
        with.
    """

    store: EmbeddingStore | None = None
    split: str = ""
    unavailable: str | None = None
    elsewhere: bool = False
    encoder: Mapping | None = None
    not_compared: Mapping | None = None


@dataclass(frozen=True)
class TrainingText:
    """How captions compare with their decoder's training text, or why that is not known (`unavailable`).

    captions: of the training text. copied_captions: the share of captions that are in it word for word;
    novel_captions: the others. A short true caption may well be one that somebody wrote: compare with
    references_in_it, the same share of the references.
    shared_image_ids: images that have captions in the training text, or are of its split, among those captioned.
    not_compared: as `TrainingSource`'s.
    """

    dataset: str | None = None
    split: str | None = None
    captions: int | None = None
    copied_captions: float | None = None
    novel_captions: float | None = None
    references_in_it: float | None = None
    shared_image_ids: int | None = None
    unavailable: str | None = None
    not_compared: dict | None = None


def compare_with_training_text(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]], store: EmbeddingStore, split: str
) -> tuple[TrainingText, list[str]]:
    """Captions {image_id: caption} against the text `split` of `store`, and warnings about them.

    Captions are compared as `bare_words`, the training text piece by piece: memory does not grow with it.

    Raises ValueError for an unknown split.
    """
    ours = bare_words(list(captions.values()))
    theirs = bare_words([caption for image_id in captions for caption in references[image_id]])
    rows = store.tables.caption_rows(split)
    present = _present(pa.chunked_array([ours, theirs]), store.tables.captions["caption"], pa.array(rows))
    copied, leaked = (pc.mean(pc.is_in(part, present)).as_py() for part in (ours, theirs))
    shared = len(_training_ids(store, split) & set(captions))
    text = TrainingText(store.path.parent.name, split, len(rows), copied, 1 - copied, leaked, shared)
    where = f"the training text ({text.dataset}, split {split})"
    warnings = []
    if shared:
        warnings.append(
            f"{shared} of the {len(captions)} images captioned have the ids of images of {where}: unless the two data "
            "sets number their images alike by chance, the decoder has read captions of the images it is tested on"
        )
    if copied > COPIED_AT_MOST:
        warnings.append(
            f"{copied:.0%} of the captions are word for word in {where}, as are {leaked:.0%} of the references"
        )
    return text, warnings


def _present(wanted: pa.ChunkedArray, captions: pa.ChunkedArray, rows: pa.Array) -> pa.Array:
    """Those of `wanted`, bare words, that are in `rows` of `captions`."""
    wanted = pc.unique(wanted)
    wanted = wanted.filter(pc.not_equal(wanted, ""))
    parts = []
    for start in range(0, len(rows), _CAPTIONS_AT_ONCE):
        part = bare_words(captions.take(rows[start : start + _CAPTIONS_AT_ONCE]))
        parts.append(pc.unique(part.filter(pc.is_in(part, wanted))))
    return pc.unique(pa.chunked_array(parts, pa.string()))


def _training_ids(store: EmbeddingStore, split: str) -> set[str]:
    tables = store.tables
    captioned = pc.unique(tables.captions["image_row"].take(pa.array(tables.caption_rows(split)))).drop_null()
    ids = set(tables.images["image_id"].take(captioned).to_pylist())
    return ids | (set(store.image_ids(split)) if tables.has("images", split) else set())
