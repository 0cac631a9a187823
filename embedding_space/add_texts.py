"""Encoding the texts of further splits into a store that holds those of others."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.files import whole_file, write_json
from common.processes import Processes
from embedding_space.encode_shards import encode_texts
from embedding_space.encoders.base import Encoder
from embedding_space.shards import Shard, count_cut_texts, open_partial, shards_with
from embedding_space.store import EmbeddingStore
from embedding_space.tables import Tables


def add_texts(
    store: EmbeddingStore,
    text_splits: list[str] | None,
    tables: Tables,
    encoder: Encoder,
    shards: Sequence[Shard],
    processes: Processes,
) -> EmbeddingStore:
    """Encode the texts of `text_splits` that `store` lacks: the rows there, the means and the hash stay.

    The array and then the manifest are replaced whole: readers see the store as it was, or with all of these texts.

    Args:
        text_splits: names of splits, those that the store has among them; None for all texts.
        shards: of all texts, in the folder of an interrupted encoding.
    """
    partial = shards[0].folder.parent
    if text_splits == store.manifest.text_splits:
        processes.run_on_main(lambda: shutil.rmtree(partial, ignore_errors=True))  # an interruption may have left it
        return store
    texts = np.load(store.path / "texts.npy", mmap_mode="r")
    wanted = shards_with(shards, tables.rows_of_texts(text_splits))
    missing = [shard for shard in wanted if _lacks(texts, shard)]
    counted = shards_with(shards, tables.rows_of_texts(store.manifest.text_splits))
    uncounted = [shard for shard in wanted if shard not in counted]
    processes.run_on_main(lambda: open_partial(partial, store.manifest.identity()))
    processes.run_everywhere(lambda: encode_texts(tables, encoder, missing, processes))
    processes.run_on_main(lambda: _fill(store, missing, uncounted, text_splits))
    processes.run_on_main(lambda: shutil.rmtree(partial))
    return EmbeddingStore(store.path)


def _lacks(texts: np.ndarray, shard: Shard) -> bool:
    return not texts[shard.rows.start : shard.rows.stop].any(axis=1).all()


def _fill(
    store: EmbeddingStore, shards: Sequence[Shard], uncounted: Sequence[Shard], text_splits: list[str] | None
) -> None:
    """Write the rows of `shards`, then the manifest.

    uncounted: whose cut texts the manifest does not count yet; after an interruption between the two these are more
        than `shards`.
    """
    path = store.path / "texts.npy"
    with whole_file(path) as temporary:
        shutil.copyfile(path, temporary)
        texts = np.load(temporary, mmap_mode="r+")
        for shard in shards:
            rows = texts[shard.rows.start : shard.rows.stop]
            np.copyto(rows, shard.read("texts"), where=~rows.any(axis=1, keepdims=True))  # what is there stays
        texts.flush()
    cut_texts = store.manifest.cut_texts + count_cut_texts(uncounted)
    manifest = replace(store.manifest, text_splits=text_splits, cut_texts=cut_texts)
    write_json(store.path / "manifest.json", manifest.to_json())
