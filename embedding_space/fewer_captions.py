"""A store as if the data set had fewer captions to learn from, to measure how many a method needs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch.nn.functional as F
from safetensors.torch import save_file

from embedding_space.store import EmbeddingStore
from embedding_space.tables import read_tables, write_tables

LEFT_OUT = "left_out"  # the split of the captions that are not drawn
ARRAYS = ("images", "texts", "patches")


def with_fewer_captions(store: EmbeddingStore, count: int, root: str | Path, seed: int = 0) -> EmbeddingStore:
    """A store in `root` with `count` of the captions of `store`'s text split; nothing is encoded again.

    The others go to the split `left_out`, so that neither a decoder nor a diffusion model, a text memory or the text
    mean sees them; images, their mean and held-out captions stay. The captions are drawn by `seed`, and those of a
    smaller count are among those of a larger one. Arrays are linked where the file system can, else copied. An existing
    store is re-used.

    Raises:
        ValueError: `count` is not between 1 and the number of captions, or `root` holds something else.
    """
    rows = store.tables.caption_rows(store.text_split)
    if not 1 <= count <= len(rows):
        raise ValueError(
            f"{count} captions of {store.path}'s split {store.text_split!r} are wanted; it has {len(rows)}"
        )
    made = {"store": store.hash, "captions": count, "seed": seed}
    root, path = Path(root), Path(root) / store.path.name
    if (path / "manifest.json").exists():
        earlier = EmbeddingStore(path)
        if earlier.manifest.fewer_captions != made:
            raise ValueError(f"{path} holds {earlier.manifest.fewer_captions}, not {made}: delete {root}")
        return earlier
    order = np.random.default_rng(seed).permutation(len(rows))
    splits = np.array(store.tables.captions["split"].to_pylist(), dtype=object)
    splits[rows[order[count:]]] = LEFT_OUT
    _write_tables(store, splits, root)
    partial = root / f"{store.path.name}.{os.getpid()}.partial"
    partial.mkdir(parents=True)
    for name in ARRAYS:
        if (source := store.path / f"{name}.npy").exists():
            _link(source, partial / source.name)
    drawn = store.texts(store.text_split)[np.sort(order[:count])].double()
    text_mean = F.normalize(drawn, dim=-1).mean(0).float()  # as for a whole store
    means = {"text_mean": text_mean} | ({"image_mean": store.mean("image")} if store.has_mean("image") else {})
    save_file(means, partial / "statistics.safetensors")
    manifest = replace(
        store.manifest,
        tables_hash=read_tables(root).hash,
        hash=hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest(),
        fewer_captions=made,
    )
    (partial / "manifest.json").write_text(json.dumps(manifest.to_json(), indent=2) + "\n")
    try:
        partial.rename(path)
    except OSError:  # another process, of another seed, was faster
        shutil.rmtree(partial)
    return EmbeddingStore(path)


def _write_tables(store: EmbeddingStore, splits: np.ndarray, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    away = Path(os.path.relpath(store.path.parent, root))
    images, captions = store.tables.images, store.tables.captions
    paths = [(away / path).as_posix() for path in images["path"].to_pylist()]
    images = images.set_column(images.schema.get_field_index("path"), "path", pa.array(paths, pa.string()))
    new_splits = pa.array(splits.tolist(), pa.string())
    captions = captions.set_column(captions.schema.get_field_index("split"), "split", new_splits)
    write_tables(root, images.to_pylist(), captions.to_pylist())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
