"""Generated and real pictures in one network's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.pictures.distances import KernelDistance, KernelSubsets, frechet_distance, kernel_distance
from evaluation.pictures.features import FeatureNetwork, feature_batches
from evaluation.pictures.moments import Moments


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of one set of pictures.

    Attributes:
        rows: (N, D) float32; (0, D) where moments are enough, which take constant memory.
    """

    moments: Moments
    rows: Tensor

    @property
    def unit_rows(self) -> Tensor:
        """(N, D), of unit length."""
        return F.normalize(self.rows, dim=-1)


class ComparedSets:
    """Both sets, each looked at when it is first asked for.

    Args:
        make_network: loads the network.
        generated, references: picture files.
        side: see `feature_batches`.
        keep_rows: for kernel distances and whatever else looks at pictures one by one.

    Everything raises what loading the network raises, and UnreadablePictures.
    """

    def __init__(
        self,
        make_network: Callable[[], FeatureNetwork],
        generated: Sequence[Path],
        references: Sequence[Path],
        side: int,
        keep_rows: bool = True,
    ):
        self._make_network, self.side, self.keep_rows = make_network, side, keep_rows
        self._paths = {"generated": generated, "reference": references}

    @cached_property
    def network(self) -> FeatureNetwork:
        return self._make_network()

    @cached_property
    def generated(self) -> FeatureSet:
        return self._collected("generated")

    @cached_property
    def references(self) -> FeatureSet:
        return self._collected("reference")

    def frechet(self) -> float:
        return frechet_distance(self.generated.moments, self.references.moments)

    def kernel(self, options: KernelSubsets, seed: int) -> KernelDistance:
        return kernel_distance(self.generated.rows, self.references.rows, options, seed)

    def too_few(self) -> str | None:
        """A warning where a covariance of so many dimensions is not determined by so many pictures."""
        least = min(map(len, self._paths.values()))
        if least > self.network.dim:
            return None
        return (
            f"{least:,} pictures are too few for {self.network.dim:,} dimensions: the Fréchet distance by "
            f"{self.network.name} is biased upwards, and comparable only between sets of equal size"
        )

    def _collected(self, kind: str) -> FeatureSet:
        moments, rows = Moments(self.network.dim), [torch.empty(0, self.network.dim)]
        for batch in feature_batches(self.network, self._paths[kind], self.side, kind):
            moments.add(batch)
            if self.keep_rows:
                rows.append(batch)
        return FeatureSet(moments, torch.cat(rows))
