"""The rows that geometry statistics are computed from: both modalities, and seeded draws of pairs of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

BINS = 100  # of histograms of cosines, each 0.02 wide


@dataclass(frozen=True)
class Embeddings:
    """Images and texts of one space.

    Attributes:
        images: (N, D).
        texts: (M, D).
        image_row: (M,) int64, each text's image; None if unknown.
        seed: of every draw of rows. The same rows are drawn after each alignment, so that statistics are comparable.

    Raises:
        ValueError: fewer than four rows of a modality, other shapes, or pairs without an image.
    """

    images: Tensor
    texts: Tensor
    image_row: Tensor | None = None
    seed: int = 0

    def __post_init__(self):
        if self.images.ndim != 2 or self.texts.ndim != 2 or self.images.shape[1] != self.texts.shape[1]:
            shapes = tuple(self.images.shape), tuple(self.texts.shape)
            raise ValueError(f"images (N, D) and texts (M, D) must share D, got {shapes[0]} and {shapes[1]}")
        if min(len(self.images), len(self.texts)) < 4:
            raise ValueError(
                f"{len(self.images)} images and {len(self.texts)} texts are too few: at least 4 of each are needed"
            )
        if self.image_row is not None and (
            self.image_row.shape != self.texts.shape[:1]
            or not 0 <= int(self.image_row.min()) <= int(self.image_row.max()) < len(self.images)
        ):
            raise ValueError(
                f"image_row must name one of {len(self.images)} images for each of {len(self.texts)} texts"
            )

    @property
    def dim(self) -> int:
        return self.images.shape[1]

    def moved(self, images: Tensor, texts: Tensor) -> Embeddings:
        """The same rows and pairs after an alignment has moved them."""
        return replace(self, images=images, texts=texts)

    @cached_property
    def gap(self) -> Tensor:
        """(D,) the mean of the images minus the mean of the texts."""
        return self.images.mean(0) - self.texts.mean(0)

    @cached_property
    def gaps(self) -> Tensor:
        """(M, D) each pair's gap, image - text (C³, arXiv 2401.08567, section 3)."""
        return self.images[self.image_row] - self.texts

    @cached_property
    def first_texts(self) -> Tensor:
        """(K,) the first text of each image that has one, in the order of images: independent pairs."""
        described, inverse = torch.unique(self.image_row, return_inverse=True)
        first = torch.full((len(described),), len(inverse))
        return first.scatter_reduce(0, inverse, torch.arange(len(inverse)), reduce="amin")

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def two_of(self, rows: int, draws: int) -> tuple[Tensor, Tensor]:
        """Two draws (draws,) of row numbers below `rows`; the nth of both are different rows."""
        generator = self.generator()
        first = torch.randint(rows, (draws,), generator=generator)
        return first, (first + torch.randint(1, rows, (draws,), generator=generator)) % rows


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (n - 1) of values."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Tensor) -> Summary:
        return cls(values.mean().item(), values.std().item())


@dataclass(frozen=True)
class Cosines(Summary):
    """A summary of cosines, with their shares in `BINS` equal bins from -1 to 1."""

    histogram: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, values: Tensor) -> Cosines:
        counts = torch.histc(values.float().cpu(), BINS, -1, 1)
        return cls(values.mean().item(), values.std().item(), rounded(counts / counts.sum()))


def rounded(values: Iterable[float] | Tensor, digits: int = 6) -> list[float]:
    """Numbers for long lists in a JSON file."""
    values = values.tolist() if isinstance(values, Tensor) else values
    return [float(f"{value:.{digits}g}") for value in values]
