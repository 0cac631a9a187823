"""Encoding a data set into an EmbeddingStore: in shards, so that an interruption loses one shard at most."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from embedding_space.store import FORMAT, EmbeddingStore
from embedding_space.tables import Tables, is_held_out, read_tables

SHARD_ROWS = 4096


class Encoder(Protocol):
    """What turns pictures and sentences into embeddings."""

    dim: int
    description: dict  # JSON: what was loaded; kept in the store's manifest and in captioners

    def encode_images(self, paths: list[Path]) -> Tensor:
        """Image files -> (N, D) unit rows."""

    def encode_texts(self, texts: list[str]) -> Tensor:
        """Captions -> (M, D) unit rows."""


def write_store(
    root: str | Path, encoder: Encoder, name: str, text_split: str = "train", image_mean_split: str | None = "train"
) -> EmbeddingStore:
    """Encode the tables in `root` into `root/name`, or re-use the store there when it holds just that.

    Args:
        root: the data set's folder, with its tables.
        encoder: what encodes; its `description` identifies it.
        name: the store's folder name.
        text_split: the split that is the text-only training corpus; the text mean is over it.
        image_mean_split: the split of unpaired training images that the image mean is over; None for no image mean.

    Raises:
        ValueError: the folder holds something else, a mean would be over held-out data, or an embedding is not finite.
    """
    for option, split in (("dataset.text_split", text_split), ("dataset.image_mean_split", image_mean_split)):
        if split is not None and is_held_out(split):
            raise ValueError(f"{option}={split}: means must not come from held-out data; name a training split")
    tables = read_tables(Path(root))
    final, partial = Path(root) / name, Path(root) / f"{name}.partial"
    identity = {
        "format": FORMAT,
        "encoder": encoder.description,
        "dim": encoder.dim,
        "dtype": "float16",
        "rows": {"images": len(tables.images), "texts": len(tables.captions)},
        "tables_hash": tables.hash,
        "text_split": text_split,
        "text_mean_split": text_split,
        "image_mean_split": image_mean_split,
    }
    identity["rows"] = {modality: rows for modality, rows in identity["rows"].items() if rows}
    if (final / "manifest.json").exists():
        store = EmbeddingStore(final)
        different = [key for key, value in identity.items() if store.manifest.get(key) != value]
        if different:
            key = different[0]
            raise ValueError(
                f"{final} holds other embeddings ({key} is {store.manifest.get(key)!r} there, "
                f"{identity[key]!r} now): delete it, or give this encoder another name with encoder.name=..."
            )
        return store
    if final.is_file() or (final.is_dir() and any(final.iterdir())):
        raise ValueError(f"{final} is in the way: it is no finished store (no manifest.json); delete it and run again")
    _open_partial(partial, identity)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for modality, rows in identity["rows"].items():
        source = _image_source(tables, encoder) if modality == "images" else _text_source(tables, encoder)
        _encode_shards(partial, modality, rows, encoder.dim, source, digest)
    save_file(_means(tables, partial, identity), partial / "statistics.safetensors")
    shutil.rmtree(partial / "shards", ignore_errors=True)
    (partial / "identity.json").unlink()
    manifest = {
        **identity,
        "hash": digest.hexdigest(),
        "versions": {package: version(package) for package in ("torch", "open_clip_torch", "transformers")},
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
    }
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    partial.replace(final)
    return EmbeddingStore(final)


def _open_partial(partial: Path, identity: dict) -> None:
    """Go on in an interrupted store's folder if it is of the same encoding, else begin it anew."""
    path = partial / "identity.json"
    if not path.exists() or path.read_text() != json.dumps(identity):
        shutil.rmtree(partial, ignore_errors=True)
    (partial / "shards").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(identity))


def _image_source(tables: Tables, encoder: Encoder) -> tuple[Callable, Callable]:
    ids = tables.images["image_id"]
    return lambda rows: encoder.encode_images(tables.image_paths(rows)), lambda row: f"image {ids[row].as_py()!r}"


def _text_source(tables: Tables, encoder: Encoder) -> tuple[Callable, Callable]:
    captions, ids = tables.captions["caption"], tables.captions["caption_id"]
    return lambda rows: encoder.encode_texts(
        captions.take(rows).to_pylist()
    ), lambda row: f"caption {ids[row].as_py()!r}"


def _encode_shards(
    partial: Path, modality: str, rows: int, dim: int, source: tuple[Callable, Callable], digest
) -> None:
    """Encode what is missing shard by shard, then join the shards in `<modality>.npy`."""
    encode, name_of = source
    shards = []
    with tqdm(total=rows, desc=f"encode {modality}", unit=modality[:-1], dynamic_ncols=True) as bar:
        for start in range(0, rows, SHARD_ROWS):
            numbers = np.arange(start, min(start + SHARD_ROWS, rows))
            shard = partial / "shards" / f"{modality}_{start:09d}.npy"
            shards.append(shard)
            if not shard.exists():
                embeddings = encode(numbers).float()
                finite = embeddings.isfinite().all(dim=-1)
                if not finite.all():
                    row = start + int((~finite).nonzero()[0])
                    raise ValueError(f"The embedding of {name_of(row)} is not finite: look at that file or caption")
                temporary = shard.with_suffix(".partial")
                with temporary.open("wb") as file:
                    np.save(file, F.normalize(embeddings, dim=-1).cpu().numpy().astype(np.float16))
                temporary.replace(shard)
            bar.update(len(numbers))
    array = np.lib.format.open_memmap(partial / f"{modality}.npy", "w+", np.float16, (rows, dim))
    for start, shard in zip(range(0, rows, SHARD_ROWS), shards, strict=True):
        part = np.load(shard, allow_pickle=False)
        array[start : start + len(part)] = part
        digest.update(part.tobytes())
    array.flush()


def _means(tables: Tables, partial: Path, identity: dict) -> dict[str, Tensor]:
    """Means of unit rows, (D,) each, over the splits that the manifest names; a data set may lack one modality."""
    means = {}
    for modality, kind, split in (
        ("text", "captions", identity["text_mean_split"]),
        ("image", "images", identity["image_mean_split"]),
    ):
        if not tables.has(kind, split):
            continue
        rows = tables.caption_rows(split) if modality == "text" else tables.image_rows(split)
        array = np.load(partial / f"{modality}s.npy", mmap_mode="r", allow_pickle=False)
        total = torch.zeros(identity["dim"], dtype=torch.float64)
        for part in np.array_split(rows, -(-len(rows) // SHARD_ROWS)):
            total += F.normalize(torch.from_numpy(array[part].astype(np.float64)), dim=-1).sum(dim=0)
        means[f"{modality}_mean"] = (total / len(rows)).float()
    return means
