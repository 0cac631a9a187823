"""The way of a row from an image's embedding to a text's: after each step of a chain and each step of its denoising."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.chain import Alignment
from alignment.row_memory import RowMemory
from alignment.steps import Center, Normalize
from ddpm.bridge import DiffusionBridge

NAMES = {Center: "− mean", RowMemory: "memory"}


@dataclass(frozen=True)
class Stop:
    """A place on the way.

    Attributes:
        name: what was done last.
        cosine: to the embedding of the final caption, after the chain's text side.
        place: its two coordinates in the plane of the path's and the near texts' first principal components.
    """

    name: str
    cosine: float
    place: tuple[float, float]


@dataclass(frozen=True)
class Way:
    """The way of one image.

    Attributes:
        stops: from the image's own embedding to the row that the decoder reads.
        text: where the caption's embedding is in the same plane.
        near: likewise the texts of the memory near the image.
        explained: the share of the points' variance that the plane shows.
    """

    stops: list[Stop]
    text: tuple[float, float]
    near: list[tuple[float, float]]
    explained: float


@torch.no_grad()
def rows_on_the_way(chain: Alignment, row: Tensor) -> list[tuple[str, Tensor]]:
    """The unit rows (D,) that a raw row (D,) becomes, each with what was done last; the last one is the chain's result.

    Raises:
        ValueError: a chain that translates, whose rows are in two spaces.
    """
    if chain.translation is not None:
        raise ValueError("A translated image has no way within one space")
    rows = F.normalize(row.float(), dim=-1)[None]
    places = [("as encoded", rows)]
    for step in chain.steps:
        if isinstance(step, DiffusionBridge):
            for timestep, states in step.inference_states(rows):
                places.append((f"t = {timestep}", F.normalize(states, dim=-1)))
            rows = places[-1][1]
            continue
        rows = step.inference_side(rows)
        name = next((name for kind, name in NAMES.items() if isinstance(step, kind)), None)
        if name is None and not isinstance(step, Normalize):
            same = torch.allclose(F.normalize(rows, dim=-1), places[-1][1], atol=1e-6)
            name = None if same else type(step).__name__
        if name is not None:
            places.append((name, F.normalize(rows, dim=-1)))
    return [(name, unit[0]) for name, unit in places]


def way(chain: Alignment, row: Tensor, text: Tensor, near: Tensor) -> Way:
    """The way of an image to its caption.

    Args:
        row: (D,) its raw embedding.
        text: (D,) the caption's embedding after the chain's clean side.
        near: (K, D) texts of the memory, after the chain's steps before the memory; none: (0, D).
    """
    names, rows = zip(*rows_on_the_way(chain, row), strict=True)
    path = torch.stack(rows)
    text = F.normalize(text.float(), dim=-1)
    places, explained = _plane(torch.cat([path, text[None], near.float()]))
    if places[0, 0] > places[len(path), 0]:  # the image at the left of its text
        places[:, 0] *= -1
    pairs = [(first, second) for first, second in places.tolist()]
    stops = [Stop(*values) for values in zip(names, (path @ text).tolist(), pairs[: len(path)], strict=True)]
    return Way(stops, pairs[len(path)], pairs[len(path) + 1 :], explained)


def _plane(points: Tensor) -> tuple[Tensor, float]:
    """(N, 2) points (N, D) on their first two principal components, and the share of variance that these have."""
    centered = points - points.mean(dim=0)
    left, sizes, _ = torch.linalg.svd(centered, full_matrices=False)
    variances = sizes.square()
    return left[:, :2] * sizes[:2], (variances[:2].sum() / variances.sum().clamp(min=1e-12)).item()
