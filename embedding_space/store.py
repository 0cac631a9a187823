"""EmbeddingStore: one encoder's view of a data set, read from disk and verified."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from embedding_space.tables import Tables, read_tables

FORMAT = 1
MANIFEST_KEYS = ("encoder", "dim", "rows", "tables_hash", "text_split", "text_mean_split", "image_mean_split", "hash")


class EmbeddingStore:
    """Embeddings in `data/<dataset>/<encoder>/`, beside the tables `data/<dataset>/*.parquet`: row n is row n there.

    Files: `images.npy` (N, D) and `texts.npy` (M, D), float16 unit rows, memory-mapped;
    `statistics.safetensors` (`text_mean`, `image_mean`, each (D,)); `manifest.json`. A data set may lack one modality.

    Raises:
        FileNotFoundError: there is no finished store in `path`.
        ValueError: a file is damaged, or manifest, arrays and tables do not belong together: the sentence names both.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        if not manifest.exists():
            raise FileNotFoundError(
                f"No embeddings in {self.path}: run python scripts/prepare_data.py "
                f"dataset={self.path.parent.name} encoder={self.path.name}"
            )
        try:
            self.manifest: dict = dict(json.loads(manifest.read_text()))
        except (TypeError, ValueError) as error:
            raise self._damaged("manifest.json", error) from error
        if self.manifest.get("format") != FORMAT:
            raise ValueError(
                f"{manifest} has format {self.manifest.get('format')}, this code reads {FORMAT}: {self._again}"
            )
        missing = [key for key in MANIFEST_KEYS if key not in self.manifest]
        if missing:
            raise self._damaged("manifest.json", f"it lacks {', '.join(missing)}")
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

    def _damaged(self, file: str, reason: object) -> ValueError:
        return ValueError(f"{self.path / file} is damaged ({reason}): {self._again}")

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

    @property
    def text_split(self) -> str:
        """The split that is the text-only training corpus."""
        return self.manifest["text_split"]

    def _array(self, modality: str) -> np.ndarray:
        path = self.path / f"{modality}.npy"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: {self._again}")
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise self._damaged(path.name, error) from error

    def _read(self, modality: str, rows: np.ndarray) -> Tensor:
        array = self._array(modality)
        chosen = torch.from_numpy((array if len(rows) == len(array) else array[rows]).astype(np.float32))
        bad = ~chosen.sum(dim=-1).isfinite()  # a sum of float16 values overflows no float32
        if bad.any():
            row = rows[int(bad.nonzero()[0])]
            raise self._damaged(f"{modality}.npy", f"the {modality[:-1]} embedding of row {row} is not finite")
        return chosen

    def texts(self, split: str) -> Tensor:
        """(M, D) float32 unit rows: the text embeddings of `split`, in table order."""
        return self._read("texts", self.tables.caption_rows(split))

    def captions(self, split: str) -> list[str]:
        """The M captions of `split`, row for row those of `texts(split)`."""
        return self.tables.captions["caption"].take(self.tables.caption_rows(split)).to_pylist()

    def images(self, split: str) -> Tensor:
        """(N, D) float32 unit rows: the image embeddings of `split`, in table order."""
        return self._read("images", self.tables.image_rows(split))

    def image_ids(self, split: str) -> list[str]:
        """The N image ids of `split`, row for row those of `images(split)`."""
        return self.tables.images["image_id"].take(self.tables.image_rows(split)).to_pylist()

    def pairs(self, split: str) -> np.ndarray:
        """(M,) int64: for each caption of `split`, the row of its image within `images(split)`. See `Tables.pairs`."""
        return self.tables.pairs(split)

    @cached_property
    def _statistics(self) -> dict[str, Tensor]:
        try:
            return load_file(self.path / "statistics.safetensors")
        except (SafetensorError, OSError) as error:
            raise self._damaged("statistics.safetensors", error) from error

    def has_mean(self, modality: str) -> bool:
        """Whether there is a mean of `modality`: a data set may lack training texts or images."""
        return f"{modality}_mean" in self._statistics

    def mean(self, modality: str) -> Tensor:
        """(D,) mean of the unit rows of `modality` ('text' or 'image') over the split that the manifest names."""
        if not self.has_mean(modality):
            option = {"text": "dataset.text_split", "image": "dataset.image_mean_split"}[modality]
            raise ValueError(
                f"{self.path} has no {modality}_mean: the data set has no {modality}s of the split "
                f"{self.manifest[f'{modality}_mean_split']!r} (option {option}); name another split and {self._again}"
            )
        return self._statistics[f"{modality}_mean"]
