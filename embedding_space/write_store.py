"""Encoding a data set into an EmbeddingStore: in shards, by any number of processes, resumed where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from common.processes import Processes
from embedding_space.add_texts import add_texts
from embedding_space.encode_shards import encode_images, encode_texts
from embedding_space.encoders.base import PATCH_OPTIONS, Encoder
from embedding_space.manifest import StoreManifest
from embedding_space.media import Medium
from embedding_space.shards import Shard, count_cut_texts, join_shards, open_partial, shards_with, split_rows
from embedding_space.splits import refuse_held_out, spelled, split_names
from embedding_space.store import EmbeddingStore
from embedding_space.tables import Tables, read_tables

SHARD_ROWS = 1024
PATCH_SHARD_ROWS = 256  # L/14's patch tokens and their features are 0.9 MB a picture


def write_store(
    root: str | Path,
    encoder: Encoder,
    name: str,
    text_split: str = "train",
    image_mean_split: str | None = "train",
    patches: bool = False,
    max_unreadable_fraction: float = 0.05,
    text_splits: Sequence[str] | None = None,
    processes: Processes | None = None,
) -> EmbeddingStore:
    """Encode the tables in `root` into `root/name`, or re-use the store there when it holds just that.

    A store that lacks some of the texts gets them (`add_texts`); what it holds stays, and so does its hash.

    Each process encodes its share of the shards; the main one joins and verifies them. The store's bytes depend neither
    on the number of processes nor on interruptions, and an interrupted encoding may resume with another number.

    Args:
        root: the data set's folder, with its tables; the same one for all processes.
        encoder: its `description` identifies it.
        name: the store's folder name.
        text_split: the split that is the text-only training corpus; the text mean is over it.
        image_mean_split: the split of unpaired training images that the image mean is over; None for no image mean.
        patches: keep patch tokens and their features, too (`Encoder.patch_head`, `Encoder.patch_features`).
        max_unreadable_fraction: the share of images that may be unreadable and left out; more is an error, since the
            path to them must be wrong.
        text_splits: the splits whose texts are encoded, `text_split` among them; None for all. Shards are encoded
            whole, so that a row does not depend on this choice.

    Raises:
        ValueError: the folder holds something else, a mean would be over held-out data, `text_splits` leave out texts
            of `text_split`, an embedding is not finite, too many images or all of a split are unreadable, or another
            process failed. Finished shards are kept.
    """
    processes = processes or Processes()
    check_training_splits(text_split, image_mean_split)
    text_split, image_mean_split = spelled(text_split), image_mean_split and spelled(image_mean_split)
    tables = read_tables(Path(root))
    final, partial = Path(root) / name, Path(root) / f"{name}.partial"
    planned = _plan(tables, encoder, text_split, image_mean_split, patches)
    if encoder.requested_precision == "auto":
        planned = _in_precision_of(planned, final / "manifest.json", partial / "identity.json")
    if (final / "manifest.json").exists():
        store = _reuse(final, planned)
        if (held := store.manifest.text_splits) is None:
            return store
        chosen = _chosen_splits(tables, None if text_splits is None else [*held, *text_splits], text_split)
        shards = split_rows(partial / "shards", "texts", planned.rows["texts"], SHARD_ROWS)
        return add_texts(store, chosen, tables, encoder, shards, processes)
    if final.is_file() or (final.is_dir() and any(final.iterdir())):
        raise ValueError(f"{final} is in the way: it is no finished store (no manifest.json); delete it and run again")
    planned = replace(planned, text_splits=_chosen_splits(tables, text_splits, text_split))
    processes.run_on_main(lambda: open_partial(partial, planned.identity()))
    digest = hashlib.sha256(json.dumps(planned.identity(), sort_keys=True).encode())
    means: dict[str, Tensor] = {}
    unreadable: dict[int, str] = {}
    cut_texts = 0
    for modality, rows in planned.rows.items():
        size = min(SHARD_ROWS, PATCH_SHARD_ROWS) if patches and modality == "images" else SHARD_ROWS
        shards = split_rows(partial / "shards", modality, rows, size)
        written = shards if modality == "images" else shards_with(shards, tables.rows_of_texts(planned.text_splits))

        def encode(modality=modality, written=written) -> None:
            if modality == "images":
                encode_images(tables, encoder, written, patches, processes)
            else:
                encode_texts(tables, encoder, written, processes)

        def join(modality=modality, shards=shards, written=written) -> None:
            nonlocal cut_texts
            if modality == "images":
                unreadable.update(_unreadable(tables, shards, max_unreadable_fraction, encoder.medium))
            else:
                cut_texts = count_cut_texts(written)
            readable = replace(tables, left_out=frozenset(unreadable))
            _join(partial, shards, written, planned, readable, digest, means)

        processes.run_everywhere(encode)
        processes.run_on_main(join)
    processes.run_on_main(
        lambda: _finish(partial, final, planned, digest.hexdigest(), means, tables, unreadable, cut_texts)
    )
    return EmbeddingStore(final)


def check_training_splits(text_split: str | None, image_mean_split: str | None) -> None:
    """Refuse validation and test data, in whatever spelling, as texts to train on or as what a mean is over."""
    refuse_held_out("dataset.text_split", text_split)
    refuse_held_out("dataset.image_mean_split", image_mean_split)


def _plan(
    tables: Tables, encoder: Encoder, text_split: str, image_mean_split: str | None, patches: bool
) -> StoreManifest:
    """The store's manifest as far as it is known before anything is encoded."""
    rows = {"images": len(tables.images), "texts": len(tables.captions)}
    rows = {modality: count for modality, count in rows.items() if count}
    if patches and "images" not in rows:
        raise ValueError(f"The data set in {tables.root} has no images to give patch tokens of: set patches=false")
    places, width = encoder.patch_shape if patches else (0, None)
    return StoreManifest(
        encoder=encoder.description | (encoder.patch_options if patches else {}),
        dim=encoder.dim if encoder.joint else None,
        rows=rows,
        tables_hash=tables.hash,
        text_split=text_split,
        text_mean_split=text_split,
        image_mean_split=image_mean_split,
        hash="",
        dims=None if encoder.joint else {modality: encoder.dim_of(modality) for modality in ("images", "texts")},
        patches=(places, encoder.dim) if patches else None,
        patch_width=width,
        medium=encoder.medium,
    )


def _chosen_splits(tables: Tables, text_splits: Sequence[str] | None, text_split: str) -> list[str] | None:
    """The names of the splits whose texts are to be encoded; None where those are all texts."""
    if text_splits is None:
        return None
    if not text_splits:
        raise ValueError("text_splits=[] must name at least one split, or be null for all texts")
    names = sorted({name for split in text_splits for name in split_names(split)})
    try:
        rows = tables.rows_of_texts(names)
    except ValueError as error:
        raise ValueError(f"text_splits={list(text_splits)}: {error}") from error
    if tables.has("captions", text_split) and not np.isin(tables.caption_rows(text_split), rows).all():
        raise ValueError(
            f"text_splits={list(text_splits)} leave out texts of the split {text_split!r} that is trained on "
            "(dataset.text_split): add it"
        )
    return None if len(rows) == len(tables.captions) else names


def _in_precision_of(planned: StoreManifest, *earlier: Path) -> StoreManifest:
    """`planned` in the precision of the first of these files that exists.

    Other hardware may have chosen another precision, which is no reason to encode again.
    """
    path = next((path for path in earlier if path.exists()), None)
    if path is None:
        return planned
    then, now = json.loads(path.read_text())["encoder"].get("precision"), planned.encoder.get("precision")
    if then in (None, now):
        return planned
    print(
        f"{path.parent} was begun in {then}, which auto is not on this machine ({now}): it is re-used", file=sys.stderr
    )
    return replace(planned, encoder={**planned.encoder, "precision": then})


def _reuse(final: Path, planned: StoreManifest) -> EmbeddingStore:
    store = EmbeddingStore(final)
    there, now = store.manifest.identity(), planned.identity()
    if not (store.manifest.patches and planned.patches):  # a store with patches will do where none are wanted
        for side in (there, now):
            side["encoder"] = {key: value for key, value in side["encoder"].items() if key not in PATCH_OPTIONS}
    different = [key for key, value in now.items() if there.get(key) != value]
    if different:
        key = different[0]
        raise ValueError(
            f"{final} holds other embeddings ({key} is {there.get(key)!r} there, {now[key]!r} now): delete it, or give "
            "this encoder another name with encoder.name=..."
        )
    _clean_up(final)
    return store


def _unreadable(tables: Tables, shards: list[Shard], max_fraction: float, medium: Medium) -> dict[int, str]:
    """{row: reason} of the unreadable images. Too many are refused, and so is a split that has no others."""
    written = [shard.facts for shard in shards]
    unreadable = {int(row): reason for facts in written if facts for row, reason in facts["unreadable"].items()}
    if not unreadable:
        return {}
    reason = next(iter(unreadable.values()))
    summary = f"{len(unreadable):,} of {len(tables.images):,} {medium}s cannot be read; the first: {reason}"
    if len(unreadable) > max_fraction * len(tables.images):
        raise ValueError(
            f"{summary}. Repair or remove them, or allow it with max_unreadable_fraction (now {max_fraction:g}); what "
            "could be read is kept"
        )
    splits = tables.images["split"].to_pylist()
    empty = sorted(set(splits) - {split for row, split in enumerate(splits) if row not in unreadable})
    if empty:
        raise ValueError(f"{summary}. No {medium} of split {empty[0]!r} is left: correct dataset.root")
    return unreadable


def _join(
    partial: Path,
    shards: list[Shard],
    written: list[Shard],
    planned: StoreManifest,
    tables: Tables,
    digest,
    means: dict[str, Tensor],
) -> None:
    """Join the shards of one modality, and of its patches, into one file each; add the modality's mean to `means`."""
    modality, rows = shards[0].modality, shards[-1].rows.stop
    kind = {"images": "image", "texts": "text"}[modality]
    table, split = {"images": "images", "texts": "captions"}[modality], planned.mean_split(kind)
    chosen = np.empty(0, np.int64)
    if split is not None and tables.has(table, split):
        chosen = tables.image_rows(split) if modality == "images" else tables.caption_rows(split)
    dim = planned.dim_of(modality)
    total = torch.zeros(dim, dtype=torch.float64)
    for shard, part in join_shards(partial / f"{modality}.npy", modality, shards, (rows, dim), digest, written):
        rows_of_shard = chosen[slice(*np.searchsorted(chosen, (shard.rows.start, shard.rows.stop)))] - shard.rows.start
        total += F.normalize(torch.from_numpy(part[rows_of_shard].astype(np.float64)), dim=-1).sum(dim=0)
    if len(chosen):
        means[f"{kind}_mean"] = (total / len(chosen)).float()
    if modality == "images" and planned.patches and planned.patch_width:
        places, dim = planned.patches
        for name, width in (("patches", dim), ("patch_features", planned.patch_width)):
            shape = (rows, places, width)
            for _ in join_shards(partial / f"{name}.npy", name, shards, shape, digest, written):
                pass


def _finish(
    partial: Path,
    final: Path,
    planned: StoreManifest,
    digest: str,
    means: dict[str, Tensor],
    tables: Tables,
    unreadable: dict[int, str],
    cut_texts: int,
) -> None:
    """Add means, manifest and the list of unreadable images, and give the store its name."""
    save_file(means, partial / "statistics.safetensors")
    if unreadable:
        ids, paths = tables.images["image_id"], tables.images["path"]
        with (partial / "unreadable.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as file:
            for row, reason in unreadable.items():
                line = {"image_id": ids[row].as_py(), "path": paths[row].as_py(), "reason": reason}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    manifest = replace(
        planned,
        hash=digest,
        unreadable=list(unreadable),
        cut_texts=cut_texts,
        versions={package: version(package) for package in ("torch", "open_clip_torch", "transformers")},
        command=shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
    )
    (partial / "manifest.json").write_text(json.dumps(manifest.to_json(), indent=2) + "\n")
    partial.replace(final)
    _clean_up(final)  # only now: until the store is whole, an interrupted run goes on from its shards


def _clean_up(final: Path) -> None:
    """Remove the parts that a finished store was made from; an interrupt may have left them."""
    shutil.rmtree(final / "shards", ignore_errors=True)
    (final / "identity.json").unlink(missing_ok=True)
