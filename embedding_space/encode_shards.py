"""Encoding the rows of tables into shards: each process its share of those that are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from common.processes import Processes
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.shards import Shard
from embedding_space.tables import Tables


class _Column(Sequence):
    """A column's values, looked up one by one: the whole would not fit in memory for large data sets."""

    def __init__(self, column: pa.ChunkedArray, value: Callable[[str], Any] = lambda text: text):
        self.column, self.value = column, value

    def __len__(self):
        return len(self.column)

    def __getitem__(self, row: int) -> Any:
        return self.value(self.column[row].as_py())


def _bar(rows: str, shards: list[Shard], missing: list[Shard], processes: Processes) -> tqdm:
    total = sum(len(shard.rows) for shard in shards)
    share = f" (process 1 of {processes.count})" if processes.count > 1 else ""
    return tqdm(
        desc=f"encode {rows}{share}",
        total=total,
        initial=total - sum(len(shard.rows) for shard in missing),
        unit=rows[:-1],
        dynamic_ncols=True,
        disable=processes.rank > 0,
    )


def encode_images(tables: Tables, encoder: Encoder, shards: list[Shard], patches: bool, processes: Processes) -> None:
    """Encode this process's share of the image shards that are missing, or hold images that were unreadable and no
    longer are."""
    paths = _Column(tables.images["path"], tables.root.joinpath)
    share = shards[processes.rank :: processes.count]
    missing = [shard for shard in share if shard.facts is None or _can_be_read_now(paths, shard.facts, encoder)]
    with _bar(f"{encoder.medium}s", share, missing, processes) as bar:
        encoded = encoder.encode_image_shards(paths, [shard.rows for shard in missing], patches, bar.update)
        for shard, images in zip(missing, encoded, strict=True):
            _write_images(shard, images, tables, encoder.dim_of("images"))


def _write_images(shard: Shard, encoded: EncodedImages, tables: Tables, dim: int) -> None:
    kept, ids = encoded.kept, tables.images["image_id"]
    arrays: dict[str, np.ndarray] = {"images": np.zeros((len(shard.rows), dim), np.float16)}
    arrays["images"][kept] = _unit_rows(encoded.rows, shard, "images", ids, kept)
    for name, tokens in (("patches", encoded.patches), ("patch_features", encoded.patch_features)):
        if tokens is not None:
            arrays[name] = np.zeros((len(shard.rows), *tokens.shape[1:]), np.float16)
            arrays[name][kept] = tokens.numpy()
    lost = sorted(set(range(len(shard.rows))) - set(kept))
    shard.write(arrays, {shard.rows[row]: reason for row, reason in zip(lost, encoded.reasons, strict=True)})


def _can_be_read_now(paths: Sequence[Path], facts: dict[str, Any], encoder: Encoder) -> bool:
    for row in facts["unreadable"]:
        try:
            encoder.load(paths[int(row)])
        except (ValueError, FileNotFoundError):
            continue
        return True
    return False


def encode_texts(tables: Tables, encoder: Encoder, shards: list[Shard], processes: Processes) -> None:
    """Encode this process's share of the text shards that are missing."""
    share = shards[processes.rank :: processes.count]
    missing = [shard for shard in share if shard.facts is None]
    with _bar("texts", share, missing, processes) as bar:
        captions = _Column(tables.captions["caption"])
        encoded = encoder.encode_text_shards(captions, [shard.rows for shard in missing], bar.update)
        for shard, rows in zip(missing, encoded, strict=True):
            everything = range(len(shard.rows))
            texts = _unit_rows(rows, shard, "texts", tables.captions["caption_id"], everything)
            cut = encoder.cut_texts([captions[row] for row in shard.rows])
            shard.write({"texts": texts}, {}, cut)


def _unit_rows(rows: Tensor, shard: Shard, modality: str, ids: pa.ChunkedArray, kept: Sequence[int]) -> np.ndarray:
    finite = rows.isfinite().all(dim=-1)
    if not finite.all():
        row = shard.rows[kept[int((~finite).nonzero()[0])]]
        what = {"images": "image", "texts": "caption"}[modality]
        raise ValueError(f"The embedding of {what} {ids[row].as_py()!r} is not finite: look at that file or caption")
    return F.normalize(rows.float(), dim=-1).cpu().numpy().astype(np.float16)
