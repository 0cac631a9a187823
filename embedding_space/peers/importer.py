"""Embeddings of other codebases as an EmbeddingStore: their ids, captions and normalized rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from common.files import file_sha256
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.peers.formats import RowFile, read_mean, read_split
from embedding_space.splits import spelled
from embedding_space.store import EmbeddingStore
from embedding_space.tables import TableWriter
from embedding_space.write_store import write_store

SPLITS = ("train", "val", "test")
SAME_MEAN = 0.999  # cosine; a float16 store's own rounding takes 1e-6


class ImportedRows(Encoder):
    """An encoder that looks rows up by their number instead of encoding.

    Args:
        description: of the encoder that made the rows, as far as it is known.
        rows: (R, D) float32.
        numbers: for "images" and "texts", the number of the row for each row of that table.
    """

    def __init__(self, description: dict[str, Any], rows: np.ndarray, numbers: Mapping[str, np.ndarray]):
        super().__init__(device="cpu")
        self.description, self.rows, self.numbers = description, rows, numbers
        self.dims = dict.fromkeys(("images", "texts"), rows.shape[1])

    def encode_image_shards(self, paths, shards, patches=False, done=lambda count: None) -> Iterator[EncodedImages]:
        for shard, rows in zip(shards, self._look_up("images", shards, done), strict=True):
            yield EncodedImages(rows, None, None, list(range(len(shard))), [])

    def encode_text_shards(self, texts, shards, done=lambda count: None) -> Iterator[Tensor]:
        return self._look_up("texts", shards, done)

    def _look_up(self, modality: str, shards: Sequence[Sequence[int]], done: Callable) -> Iterator[Tensor]:
        for shard in shards:
            yield F.normalize(torch.from_numpy(self.rows[self.numbers[modality][list(shard)]]), dim=-1)
            done(len(shard))


def import_embeddings(
    root: str | Path,
    name: str,
    files: Mapping[str, str | Path],
    model: str | None = None,
    pretrained: str | None = None,
    text_split: str = "train",
    image_mean_split: str | None = "train",
) -> EmbeddingStore:
    """Write tables into `root` and a store into `root/name` from peers' files, or re-use the store made from them.

    Memory holds the ids and captions of one file at a time; embeddings go through a file beside the store (float32,
    1.4 GB for COCO), which is removed at the end.

    Args:
        files: {split: file}, see `peer_files`.
        model, pretrained: open_clip's names of the encoder that made the embeddings, if known; other pictures
            can be captioned only then.
        text_split, image_mean_split: as for `write_store`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is refused; ids occur twice, within a split or in two; `root` holds other embeddings, or
            tables of another source.
    """
    root = Path(root)
    text_split, image_mean_split = spelled(text_split), image_mean_split and spelled(image_mean_split)
    description = _description(name, files, model, pretrained)
    if (root / name / "manifest.json").exists():
        store = EmbeddingStore(root / name)
        wanted = {"encoder": description, "text_split": text_split, "image_mean_split": image_mean_split}
        if all(getattr(store.manifest, key) == value for key, value in wanted.items()):
            return store
        raise ValueError(
            f"{store.path} holds other embeddings: delete it, or give these another name with encoder.name=..."
        )
    root.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, list[np.ndarray]] = {"images": [], "texts": []}
    with RowFile(root / f"{name}.rows.partial") as rows:
        with TableWriter(root, replace="none") as writer:
            for split, path in files.items():
                read = read_split(path, rows, split)
                first = [writer.image(image_id, where, split) for image_id, where in read.images][:1]
                for caption_id, image, caption in read.captions:
                    writer.caption(caption_id, None if image is None else first[0] + image, caption, split)
                numbers["images"].append(np.array(read.image_rows, np.int64))
                numbers["texts"].append(np.array(read.caption_rows, np.int64))
                if read.blank:
                    print(f"{path}: {read.blank:,} captions are blank and were left out")
                if read.halves:
                    print(f"{path}: captions in which half a character became U+FFFD: {read.halves:,}")
                del read  # before the next file is in memory
        encoder = ImportedRows(
            description, rows.array(), {modality: np.concatenate(parts) for modality, parts in numbers.items()}
        )
        return write_store(root, encoder, name, text_split, image_mean_split)


def _description(name: str, files: Mapping[str, str | Path], model: str | None, pretrained: str | None) -> dict:
    """What the store's manifest and captioners keep instead of an encoder's description."""
    for split, path in files.items():
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no file {path} (option {split})")
    hashes = {split: {"file": Path(path).name, "sha256": file_sha256(path)} for split, path in files.items()}
    description = {"name": name, "kind": "imported", "model": model, "pretrained": pretrained, "files": hashes}
    if model is None:  # else two imports of unknown encoders would pass for one space
        description["sha256"] = next(iter(hashes.values()))["sha256"]
    return description


def compare_means(store: EmbeddingStore, means: Mapping[str, str | Path]) -> dict[str, float]:
    """{modality: cosine} of the means in peers' files, by modality "text" and "image", with those of the store.

    The store does not depend on these files.

    Raises:
        ValueError: they differ, so that they were made from other embeddings.
    """
    cosines = {}
    for modality, path in means.items():
        theirs, ours = read_mean(path), store.mean(modality)
        if theirs.shape != ours.shape:
            raise ValueError(f"{path} ({modality}_mean) has {len(theirs)} dimensions, {store.path} has {len(ours)}")
        cosines[modality] = F.cosine_similarity(theirs, ours, dim=0).item()
        if not cosines[modality] >= SAME_MEAN:
            raise ValueError(
                f"{path} is not the {modality} mean of these embeddings (cosine {cosines[modality]:.4f} with that of "
                f"the split {store.manifest.mean_split(modality)}): it was made from others. The store in "
                f"{store.path} is whole and has its own; leave {modality}_mean out"
            )
    return cosines


def import_files(config: DictConfig) -> EmbeddingStore:
    """Import the files `train`, `val` and `test` as a config says; what was imported already is re-used."""
    files = {split: config[split] for split in SPLITS if config[split] is not None}
    means = {kind: config[f"{kind}_mean"] for kind in ("text", "image") if config[f"{kind}_mean"] is not None}
    dataset, encoder = config.dataset, config.encoder
    if not files:
        raise ValueError("Name at least one file: train=..., val=... or test=...")
    if encoder.get("kind") != "imported":
        raise ValueError(
            f"encoder={encoder.name} would encode; use dataset=tables dataset.name=... encoder=imported, "
            "with encoder.model=... if known"
        )
    splits = (dataset.text_split, dataset.image_mean_split)
    store = import_embeddings(dataset.root, encoder.name, files, encoder.model, encoder.pretrained, *splits)
    rows = ", ".join(f"{count:,} {modality}" for modality, count in store.manifest.rows.items())
    print(f"{store.path}: {rows}, {store.dim} dimensions")
    for kind, cosine in compare_means(store, means).items():
        print(f"The {kind} mean in {means[kind]} has cosine {cosine:.6f} with the one computed here")
    return store
