"""The small steps that gap-closing methods are made of.

Every step maps rows (B, D) to rows (B, D) and has two sides: `text`, applied to text embeddings while the decoder
trains, and `image`, applied to image embeddings at inference. A step's constructor takes JSON values alone, so that
a saved chain can be rebuilt before its tensors are loaded; `from_store` fills a new step from data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedding_space.geometry.estimates import estimate_noise_std, rows_for_estimate
from embedding_space.store import EmbeddingStore

NormalSampler = Callable[[Tensor], Tensor]
"""Maps a tensor to standard normal noise of its shape, dtype and device."""

ROWS_AT_ONCE = 65_536


class Step(nn.Module):
    """Base of all steps: both sides are the identity until a subclass says otherwise.

    changes_texts: whether text rows may leave the step other than they came. Only such steps matter to what was trained
        on text rows.
    uses_pairs: whether the step has learned from image-text pairs.
    image_dim, image_encoder: the width of the image rows that it takes and the description of their encoder, for a step
        that takes them from another space than the texts'.
    image_options: options of the image side alone, which may change after a decoder was trained on the texts.
    estimate: how `from_store` set an option that was given as `auto`: its name, value, method and the data read.
    """

    changes_texts = True
    image_options: tuple[str, ...] = ()
    estimate: dict | None = None
    uses_pairs = False
    image_dim: int | None = None
    image_encoder: dict | None = None

    def __init__(self):  # without nn.Module's *args, which would accept any option
        super().__init__()

    def text(self, rows: Tensor, normal: NormalSampler) -> Tensor:
        """(B, D) text rows -> (B, D), as the decoder sees them in training. Draws randomness from `normal` only."""
        return rows

    def clean_text(self, rows: Tensor) -> Tensor:
        """(B, D) text rows -> (B, D) without augmentation; by default the text side with every noise zero."""
        return self.text(rows, torch.zeros_like)

    def image(self, rows: Tensor) -> Tensor:
        """(B, D) image rows -> (B, D), as the decoder sees them at inference."""
        return rows

    def options(self) -> dict:
        """The JSON constructor values that rebuild this step, tensors aside."""
        return {}

    @classmethod
    def from_store(cls, store: EmbeddingStore, preceding: Sequence[Step], **options) -> Step:
        """Build the step from data; `preceding` are the finished steps before it in the chain."""
        return cls(**options)

    def with_image_options(self, **options) -> Step:
        """This step with other values of its `image_options`; text side and tensors are the same. ValueError for bad
        values."""
        step = type(self)(**{**self.options(), **options})
        step.load_state_dict(self.state_dict())
        return step.to(next(self.buffers(), torch.empty(0)).device)

    def restore(self, preceding: Sequence[Step]) -> None:
        """Fetch, after a checkpoint was loaded, what it names instead of holding. Raises when that is missing."""


class Normalize(Step):
    """Scale each row to unit length."""

    def text(self, rows, normal):
        return F.normalize(rows, dim=-1)

    def image(self, rows):
        return F.normalize(rows, dim=-1)


class Center(Step):
    """Collapse: subtract each modality's own mean of unit rows (C³, arXiv 2401.08567, section 4).

    Both means come from the store's statistics: texts of the training split, images of the unpaired training images.
    A store without an image mean (a text-only corpus) leaves it NaN: texts can be centred, images are refused.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.register_buffer("text_mean", torch.zeros(dim))
        self.register_buffer("image_mean", torch.zeros(dim))

    def text(self, rows, normal):
        return rows - self.text_mean

    def image(self, rows):
        if self.image_mean.isnan().any():
            raise ValueError(
                "This Center has no image mean: the store that it came from has no images of the split "
                "dataset.image_mean_split. Take the mean of the images' own data set with eval_coco.py "
                "image_mean_from=store, or prepare a store that has one and train again with store=..."
            )
        return rows - self.image_mean

    def options(self):
        return {"dim": self.dim}

    @classmethod
    def from_store(cls, store, preceding):
        if [type(step) for step in preceding] != [Normalize]:
            raise ValueError(
                "Center must directly follow one Normalize: the store's means are means of unit rows. "
                "Mend the list alignment.steps."
            )
        step = cls(store.dim)
        step.text_mean.copy_(store.mean("text"))
        step.image_mean.copy_(store.mean("image") if store.has_mean("image") else torch.tensor(torch.nan))
        return step


class GaussianNoise(Step):
    """Corrupt: add N(0, noise_std² I) to text rows; image rows pass unchanged.

    `noise_std` is a standard deviation a dimension: the papers' variance 0.016 (CapDec, arXiv 2211.00575; C³) is 0.126.
    """

    def __init__(self, noise_std: float):
        super().__init__()
        if not isinstance(noise_std, (int, float)) or not noise_std >= 0:
            raise ValueError(f"noise_std={noise_std!r} must be a number, 0 or more (option alignment.noise_std)")
        self.noise_std = float(noise_std)

    def text(self, rows, normal):
        return rows + self.noise_std * normal(rows)

    def options(self):
        return {"noise_std": self.noise_std}

    @classmethod
    def from_store(cls, store, preceding, noise_std: float | str, estimate: Mapping | None = None):
        """With noise_std="auto", `estimate` says from which data it is set: see `rows_for_estimate`."""
        if noise_std != "auto":
            return cls(noise_std)
        found = estimate_noise_std(rows_for_estimate(store, preceding, "noise_std", estimate))
        step = cls(found["value"])
        step.estimate = found
        return step


class TextMemory(Step):
    """Project image rows on the training texts: softmax(similarity / temperature)-weighted mean, as unit rows.

    DeCap, arXiv 2303.03032, section 3.3 (temperature 0.01 there). Text rows pass unchanged. The memory holds the
    training texts after the preceding steps, (M, D); `memory_rows` keeps an evenly spaced subset of them. A memory over
    `MEMORY_SAVED_BYTES` is not copied into checkpoints: they name its store and the store's hash instead.
    """

    MEMORY_SAVED_BYTES = 50_000_000
    changes_texts = False
    image_options = ("temperature", "memory_rows")

    def __init__(
        self, temperature: float, rows: int, dim: int, store: str | None = None, store_hash: str | None = None
    ):
        super().__init__()
        if not isinstance(temperature, (int, float)) or not temperature > 0:
            raise ValueError(f"temperature={temperature!r} must be a positive number (option alignment.temperature)")
        self.temperature = float(temperature)
        self.store, self.store_hash = store, store_hash
        self.register_buffer("memory", torch.zeros(rows, dim), persistent=store is None)

    def image(self, rows):
        return torch.cat([self._project(part) for part in rows.split(1024)]) if len(rows) else rows

    def _project(self, rows: Tensor) -> Tensor:
        weights = (rows @ self.memory.T / self.temperature).softmax(dim=-1)  # (B, M)
        return F.normalize(weights @ self.memory, dim=-1)

    def options(self):
        rows, dim = self.memory.shape
        saved = {"temperature": self.temperature, "rows": rows, "dim": dim}
        return saved if self.store is None else {**saved, "store": self.store, "store_hash": self.store_hash}

    def with_image_options(self, temperature: float | None = None, memory_rows: int | None = None):
        """As `Step`'s; `memory_rows` keeps an evenly spaced subset of the rows that the memory has."""
        memory = self.memory
        if memory_rows is not None:
            if not isinstance(memory_rows, int) or not 1 <= memory_rows <= len(memory):
                raise ValueError(
                    f"memory_rows={memory_rows!r} must lie in 1..{len(memory)}, the rows that this memory has (option "
                    "alignment.memory_rows)"
                )
            memory = memory[_evenly_spaced(len(memory), memory_rows)]
        return self._holding(memory, self.temperature if temperature is None else temperature)

    def self_contained(self) -> TextMemory:
        """This step with a memory that is saved with it, however large it is."""
        return self._holding(self.memory, self.temperature)

    def _holding(self, memory: Tensor, temperature: float) -> TextMemory:
        step = TextMemory(temperature, *memory.shape)
        step.memory = memory
        return step

    def restore(self, preceding):
        if self.store is None:
            return
        store = EmbeddingStore(self.store)
        if store.hash != self.store_hash:
            raise ValueError(
                f"This captioner's text memory came from the store {self.store} with hash {self.store_hash[:12]}, "
                f"but the store there has hash {store.hash[:12]}: prepare that store, or train the captioner, again"
            )
        self._fill(store, preceding)

    def _fill(self, store: EmbeddingStore, preceding: Sequence[Step]) -> None:
        texts = store.texts(store.text_split)
        texts = texts[_evenly_spaced(len(texts), len(self.memory))]
        for part, out in zip(texts.split(ROWS_AT_ONCE), self.memory.split(ROWS_AT_ONCE), strict=True):
            for before in preceding:
                part = before.clean_text(part)
            out.copy_(part)

    @classmethod
    def from_store(cls, store, preceding, temperature: float = 0.01, memory_rows: int | None = None):
        rows = len(store.captions(store.text_split))
        if memory_rows is not None and not 1 <= memory_rows <= rows:
            raise ValueError(f"memory_rows={memory_rows} must lie in 1..{rows} (option alignment.memory_rows)")
        rows = memory_rows or rows
        large = rows * store.dim * 4 > cls.MEMORY_SAVED_BYTES
        step = cls(temperature, rows, store.dim, *((str(store.path), store.hash) if large else ()))
        step._fill(store, preceding)
        return step


def _evenly_spaced(rows: int, count: int) -> Tensor:
    """(count,) int64: so many of `rows` rows, from the first to the last."""
    return torch.linspace(0, rows - 1, count).long()
