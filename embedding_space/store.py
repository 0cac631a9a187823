"""EmbeddingStore: one encoder's view of a data set, read from disk and verified."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from common.warn import warn_once
from embedding_space.errors import (
    DamagedStore,
    MissingArray,
    MissingMean,
    MissingPatches,
    MissingPatchFeatures,
    MissingStore,
    MissingTexts,
    StaleStore,
)
from embedding_space.fewer_captions import with_fewer_captions
from embedding_space.manifest import StoreManifest
from embedding_space.patch_tokens import PatchTokens
from embedding_space.tables import Tables, read_tables

TrainingModality = Literal["texts", "images"]
Side = Literal["training", "inference"]


class EmbeddingStore:
    """Embeddings in `data/<dataset>/<encoder>/`, beside the tables `data/<dataset>/*.parquet`: row n is row n there.

    Files: `images.npy` (N, D) and `texts.npy` (M, D), float16 unit rows, memory-mapped; where it was prepared with
    `patches=true`, `patches.npy` (N, P, D) and `patch_features.npy` (N, P, W), too; `statistics.safetensors`
    (`text_mean`, `image_mean`, each (D,)); `manifest.json`. A data set may lack one modality. Rows of separate towers
    have no joint space: `manifest.dim` is None, and `manifest.dims` gives each modality's width.

    A store may hold the texts of some splits alone (`manifest.text_splits`), beside all images.

    Images that could not be read (`manifest.json` has their rows, `unreadable.jsonl` the reasons) are in no split, and
    neither are their captions.

    A model trains on one modality and reads the other at inference: a captioner trains on texts, an image generator on
    images (`training_modality`). `training_rows`, `inference_rows` and `side_modality` are for alignments.

    Args:
        corpus_captions: view the store as if its data set had so many captions to learn from, see
            `with_fewer_captions`: text split, text mean and hash are those of the part. None for all.
        training_modality: what models train on.

    Raises:
        FileNotFoundError: there is no finished store in `path`.
        ValueError: a file is damaged, or manifest, arrays and tables do not belong together: the sentence names both.
    """

    def __init__(
        self, path: str | Path, corpus_captions: int | None = None, training_modality: TrainingModality = "texts"
    ):
        if training_modality not in ("texts", "images"):
            raise ValueError(f"training_modality={training_modality!r} must be 'texts' or 'images'")
        self.path, self.corpus_captions = Path(path), corpus_captions
        self.training_modality: TrainingModality = training_modality
        manifest = self.path / "manifest.json"
        if not manifest.exists():
            raise MissingStore(self.path)
        try:
            self.manifest = StoreManifest.from_json(json.loads(manifest.read_text()))
        except ValueError as error:
            raise DamagedStore(self.path / "manifest.json", error) from error
        expected: dict[str, tuple[int, ...]] = {
            modality: (rows, self.manifest.dim_of(modality)) for modality, rows in self.manifest.rows.items()
        }
        if self.manifest.patches:
            expected["patches"] = (self.manifest.rows["images"], *self.manifest.patches)
            if self.manifest.patch_width:
                expected["patch_features"] = (*expected["patches"][:2], self.manifest.patch_width)
        for name, shape in expected.items():
            actual = self._array(name).shape
            if actual != shape:
                raise DamagedStore(self.path / f"{name}.npy", f"it has shape {actual}, the manifest says {shape}")

    def with_captions(self, count: int) -> EmbeddingStore:
        """The same store with `count` captions to learn from."""
        return EmbeddingStore(self.path, count, self.training_modality)

    @property
    def joint(self) -> bool:
        """Whether images and texts share one space: see `Encoder.joint`."""
        return self.manifest.dim is not None

    @property
    def dim(self) -> int:
        """The width of all rows. Raises ValueError when images' and texts' rows have no joint space."""
        if self.manifest.dim is None:
            raise ValueError(
                f"{self.path} holds {self.manifest.dim_of('images')} dimensions of images and "
                f"{self.manifest.dim_of('texts')} of texts, made by separate towers; this needs embeddings in a joint "
                "space: choose another encoder=..."
            )
        return self.manifest.dim

    @cached_property
    def tables(self) -> Tables:
        """The data set's tables. Raises StaleStore when they are not those that were encoded, ValueError when they have
        fewer captions than the part should have."""
        tables = read_tables(self.path.parent)
        if tables.hash != self.manifest.tables_hash:
            raise StaleStore(self.path, self.manifest.tables_hash, tables.hash)
        unreadable = self.manifest.unreadable
        if unreadable:
            warn_once(f"{self.path} leaves out {len(unreadable):,} images that could not be read, and their captions")
        if cut := self.manifest.cut_texts:
            warn_once(f"{self.path} has {cut:,} texts that are longer than its encoder takes, read up to there")
        tables = replace(tables, left_out=frozenset(unreadable))
        return (
            tables
            if self.corpus_captions is None
            else with_fewer_captions(tables, self.text_split, self.corpus_captions)
        )

    @property
    def hash(self) -> str:
        """Identity of the embeddings: of the tables, the encoder's weights and the arrays' contents; of a part, also of
        the captions that it has. Texts that were added later (`add_texts`) do not change it."""
        if self.corpus_captions is None:
            return self.manifest.hash
        rows = self.tables.caption_rows(self.text_split)
        return hashlib.sha256(self.manifest.hash.encode() + rows.astype("<i8").tobytes()).hexdigest()

    @property
    def text_split(self) -> str:
        """The split that is the text-only training corpus."""
        return self.manifest.text_split

    def _array(self, modality: str) -> np.ndarray:
        path = self.path / f"{modality}.npy"
        if not path.exists():
            raise MissingArray(path)
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DamagedStore(path, error) from error

    def _read(self, modality: str, rows: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        array = self._array(modality)
        number = np.float16 if dtype == torch.float16 else np.float32
        chosen = torch.from_numpy((array if len(rows) == len(array) else array[rows]).astype(number))
        bad = ~chosen.sum(dim=-1, dtype=torch.float32).isfinite()  # a sum of float16 values overflows no float32
        if bad.any():
            row = rows[int(bad.nonzero()[0])]
            raise DamagedStore(
                self.path / f"{modality}.npy", f"the {modality[:-1]} embedding of row {row} is not finite"
            )
        return chosen

    def texts(self, split: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """(M, D) unit rows: the text embeddings of `split`, in table order; float16 is how they are stored.

        Raises MissingTexts when the store was prepared without texts of that split.
        """
        rows, encoded = self.tables.caption_rows(split), self.manifest.text_splits
        if encoded is not None and not np.isin(rows, self.tables.rows_of_texts(encoded)).all():
            raise MissingTexts(self.path, split, encoded)
        return self._read("texts", rows, dtype)

    def captions(self, split: str) -> list[str]:
        """The M captions of `split`, row for row those of `texts(split)`."""
        return self.tables.captions["caption"].take(self.tables.caption_rows(split)).to_pylist()

    def images(self, split: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, D) unit rows: the image embeddings of `split`, in table order; float16 is how they are stored."""
        return self._read("images", self.tables.image_rows(split), dtype)

    def patches(self, split: str) -> PatchTokens:
        """(N, P, D) patch tokens of `split`, unit rows, row for row those of `images(split)`: see `Encoder.patch_head`.
        Raises MissingPatches when the store was prepared without them."""
        if self.manifest.patches is None:
            raise MissingPatches(self.path)
        return PatchTokens(self._array("patches"), self.tables.image_rows(split))

    def patch_features(self, split: str) -> PatchTokens:
        """(N, P, W) what `patches(split)` were before the encoder's head: see `Encoder.patch_features`.

        Raises:
            MissingPatches: the store was prepared without patch tokens.
            MissingPatchFeatures: it was prepared when these alone were kept.
        """
        if self.manifest.patches is None:
            raise MissingPatches(self.path)
        if self.manifest.patch_width is None:
            raise MissingPatchFeatures(self.path)
        return PatchTokens(self._array("patch_features"), self.tables.image_rows(split))

    @property
    def training_split(self) -> str:
        """The split that models train on: the text-only corpus, or the images that the image mean is of, unpaired.

        Raises:
            MissingMean: models train on images, and there are none.
        """
        if self.training_modality == "texts":
            return self.text_split
        if self.manifest.image_mean_split is None:
            raise MissingMean(self.path, "image", None)
        return self.manifest.image_mean_split

    @property
    def training_table_rows(self) -> np.ndarray:
        """(M,) int64: which rows of their table models train on."""
        of_split = self.tables.caption_rows if self.training_modality == "texts" else self.tables.image_rows
        return of_split(self.training_split)

    def training_rows(self, split: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """(M, D) unit rows of the modality that models train on."""
        return self.texts(split, dtype) if self.training_modality == "texts" else self.images(split, dtype)

    def inference_rows(self, split: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, D) unit rows of the other modality."""
        return self.images(split, dtype) if self.training_modality == "texts" else self.texts(split, dtype)

    def side_modality(self, side: Side) -> str:
        """The modality, "text" or "image", of a side of alignments."""
        return "text" if (side == "training") == (self.training_modality == "texts") else "image"

    def image_ids(self, split: str) -> list[str]:
        """The N image ids of `split`, row for row those of `images(split)`."""
        return self.tables.images["image_id"].take(self.tables.image_rows(split)).to_pylist()

    def pairs(self, split: str) -> np.ndarray:
        """(M,) int64: for each caption of `split`, the row of its image within `images(split)`. See `Tables.pairs`."""
        return self.tables.pairs(split)

    @cached_property
    def _statistics(self) -> dict[str, Tensor]:
        try:
            statistics = load_file(self.path / "statistics.safetensors")
        except (SafetensorError, OSError) as error:
            raise DamagedStore(self.path / "statistics.safetensors", error) from error
        if self.corpus_captions is not None:
            texts = F.normalize(self.texts(self.text_split).double(), dim=-1)
            statistics["text_mean"] = texts.mean(dim=0).float()
        return statistics

    def has_mean(self, modality: str) -> bool:
        """Whether there is a mean of `modality`: a data set may lack training texts or images."""
        return f"{modality}_mean" in self._statistics

    def mean(self, modality: str) -> Tensor:
        """(D,) mean of the unit rows of `modality` ('text' or 'image') over the split that the manifest names."""
        if not self.has_mean(modality):
            raise MissingMean(self.path, modality, self.manifest.mean_split(modality))
        return self._statistics[f"{modality}_mean"]
