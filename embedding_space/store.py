"""EmbeddingStore: one encoder's view of a data set, read from disk and verified."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from embedding_space.tables import Tables, read_tables

FORMAT = 1


class EmbeddingStore:
    """Embeddings in `data/<dataset>/<encoder>/`, beside the tables `data/<dataset>/*.parquet`: row n is row n there.

    Files: `images.npy` (N, D) and `texts.npy` (M, D), float16 unit rows, memory-mapped; optional `patches.npy`
    (N, P, W); `statistics.safetensors` (`text_mean`, `image_mean`, each (D,)); `manifest.json`.

    Raises:
        FileNotFoundError: there is no finished store in `path`.
        ValueError: manifest, arrays and tables do not belong together; the sentence names both sides.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        if not manifest.exists():
            raise FileNotFoundError(
                f"No embeddings in {self.path}: run python scripts/prepare_data.py "
                f"dataset={self.path.parent.name} encoder={self.path.name}"
            )
        self.manifest = json.loads(manifest.read_text())
        if self.manifest.get("format") != FORMAT:
            raise ValueError(
                f"{manifest} has format {self.manifest.get('format')}, this code reads {FORMAT}: {self._again}"
            )
        self.dim: int = self.manifest["dim"]
        for modality, rows in self.manifest["rows"].items():
            shape = self._array(modality).shape
            if shape != (rows, self.dim):
                raise ValueError(
                    f"{self.path / modality}.npy has shape {shape}, its manifest says {(rows, self.dim)}: {self._again}"
                )

    @property
    def _again(self) -> str:
        return (
            f"delete {self.path} and run python scripts/prepare_data.py "
            f"dataset={self.path.parent.name} encoder={self.path.name}"
        )

    @cached_property
    def tables(self) -> Tables:
        """The data set's tables; refused when they are not those that were encoded."""
        tables = read_tables(self.path.parent)
        if tables.hash != self.manifest["tables_hash"]:
            raise ValueError(
                f"The tables in {self.path.parent} (hash {tables.hash[:12]}) are not those that {self.path} was "
                f"encoded from (hash {self.manifest['tables_hash'][:12]}): {self._again}"
            )
        return tables

    @property
    def hash(self) -> str:
        """Identity of the embeddings: of the tables, the encoder's weights and the arrays' contents."""
        return self.manifest["hash"]

    def _array(self, modality: str) -> np.ndarray:
        path = self.path / f"{modality}.npy"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: {self._again}")
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def _read(self, modality: str, rows: np.ndarray) -> Tensor:
        array = self._array(modality)
        if len(rows) == len(array):
            return torch.from_numpy(array.astype(np.float32))
        return torch.from_numpy(array[rows].astype(np.float32))

    def _split(self, split: str) -> str:
        return self.manifest["text_split"] if split == "train" else split

    def texts(self, split: str = "train") -> Tensor:
        """(M, D) float32 unit rows: the text embeddings of `split`, in table order."""
        return self._read("texts", self.tables.caption_rows(self._split(split)))

    def captions(self, split: str = "train") -> list[str]:
        """The M captions of `split`, row for row those of `texts(split)`."""
        rows = self.tables.caption_rows(self._split(split))
        return self.tables.captions["caption"].take(rows).to_pylist()

    def images(self, split: str) -> Tensor:
        """(N, D) float32 unit rows: the image embeddings of `split`, in table order."""
        return self._read("images", self.tables.image_rows(split))

    def image_ids(self, split: str) -> list[str]:
        """The N image ids of `split`, row for row those of `images(split)`."""
        return self.tables.images["image_id"].take(self.tables.image_rows(split)).to_pylist()

    def pairs(self, split: str) -> np.ndarray:
        """(M,) int64: for each caption of `split`, the row of its image within `images(split)`.

        Raises ValueError when a caption of the split has no image there.
        """
        table_rows = self.tables.captions["image_row"].take(self.tables.caption_rows(split))
        if table_rows.null_count:
            raise ValueError(f"Split {split!r} of {self.path.parent} holds captions without images; it has no pairs")
        image_rows = self.tables.image_rows(split)
        wanted = table_rows.to_numpy()
        found = np.searchsorted(image_rows, wanted).clip(max=len(image_rows) - 1)
        if (image_rows[found] != wanted).any():
            raise ValueError(f"Captions of split {split!r} of {self.path.parent} belong to images of another split")
        return found

    @cached_property
    def _statistics(self) -> dict[str, Tensor]:
        return load_file(self.path / "statistics.safetensors")

    def mean(self, modality: str) -> Tensor:
        """(D,) mean of the unit rows of `modality` ('text' or 'image') over the split that the manifest names."""
        name = f"{modality}_mean"
        if name not in self._statistics:
            raise ValueError(
                f"{self.path} has no {name}: the data set has no {modality}s of the split "
                f"{self.manifest.get(f'{modality}_mean_split')!r} (option dataset.{modality}_mean_split)"
            )
        return self._statistics[name]
