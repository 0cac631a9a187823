"""What a painter is: it gives captions pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from omegaconf import DictConfig
from PIL.Image import Image

from embedding_space.tables import Tables
from synthetic_images.defects import Defect

if TYPE_CHECKING:  # torch, which the processes on the cores do without
    from common.processes import Processes

SYNTHETIC, UNPAIRED_PHOTOS = "synthetic", "unpaired real photos"  # classes of images, for tables of results


@dataclass(frozen=True)
class Commission:
    """Captions that are to have pictures.

    Attributes:
        tables: of the data set that they are from.
        split: the text split that they are of.
        rows: (K,) int64, increasing: their rows in `tables.captions`.
        positions: (K,) int64: their positions among the captions of `split`, which seed the randomness.
        seed: of all randomness.
    """

    tables: Tables
    split: str
    rows: np.ndarray
    positions: np.ndarray
    seed: int

    def captions(self) -> list[str]:
        """The K captions."""
        return self.tables.captions["caption"].take(self.rows).to_pylist()


@dataclass(frozen=True)
class Painting:
    """The pictures of a commission.

    Attributes:
        kept: (P,) int64, increasing: which of the commission's K captions have one.
        paths: P files; a relative one is relative to the folder that was painted into.
        defects: of the P pictures, by their place among the K captions; None where the painter does not know them.
    """

    kept: np.ndarray
    paths: list[str]
    defects: list[tuple[int, Defect]] | None = None


@dataclass(frozen=True)
class Drawn:
    """One picture and what is wrong with it. `picture` is None where the painter refuses to draw the caption."""

    picture: Image | None
    defects: tuple[Defect, ...] = ()


class Painter(ABC):
    """Gives captions pictures.

    Attributes:
        images: the class of the pictures, which results must name.
    """

    images: ClassVar[str] = SYNTHETIC

    @classmethod
    def from_config(cls, options: Mapping[str, Any], config: DictConfig) -> Painter:
        """The painter that options of `configs/painter/` describe; `config` is the command's."""
        return cls(**options)

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """JSON values that, with captions and seed, determine the pictures."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """More that the provenance is to have, such as versions and licenses."""
        return {}

    @abstractmethod
    def paint(self, commission: Commission, folder: Path, processes: Processes) -> Painting:
        """Paint into `folder`, going on from what is there; every process does its share and gets the whole result."""
