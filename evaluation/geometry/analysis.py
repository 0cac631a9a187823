"""All statistics of one state of the embeddings, raw or after an alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from common.checks import checked_options
from evaluation.geometry.gap import MeanGap, PairedGaps, gap_statistics, paired_gap_statistics
from evaluation.geometry.residuals import Residuals, residual_statistics
from evaluation.geometry.sample import Embeddings, Summary
from evaluation.geometry.similarity import (
    CosinesByKind,
    PairedCka,
    Separability,
    cosine_statistics,
    pair_alignment,
    paired_cka,
    separability,
    uniformity,
)
from evaluation.geometry.spread import Spread, spread_statistics


@dataclass(frozen=True)
class PairedGeometry:
    """The statistics of a state that need pairs."""

    gap: PairedGaps
    residuals: Residuals
    alignment: Summary
    cka: PairedCka


@dataclass(frozen=True)
class Geometry:
    """The statistics of a state, as `geometry.json` holds them.

    spread, uniformity: of `images` and of `texts`. paired: None where pairs are unknown.
    """

    dim: int
    gap: MeanGap
    spread: dict[str, Spread]
    separability: Separability
    uniformity: dict[str, float]
    cosines: CosinesByKind
    paired: PairedGeometry | None = None

    def to_json(self) -> dict[str, Any]:
        return TypeAdapter(Geometry).dump_python(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Geometry:
        """A state of a `geometry.json`; lists that were left out of it are empty."""
        return TypeAdapter(cls).validate_python(content)


@checked_options()
def analyze(
    embeddings: Embeddings,
    variance_share: Annotated[float, Field(gt=0, lt=1)] = 0.99,
    draws: Annotated[int, Field(ge=2)] = 20_000,
) -> Geometry:
    """All statistics of these rows.

    Args:
        variance_share: the leading directions that hold this share of a modality's variance are its span.
        draws: of pairs of rows, where all pairs would be too many.

    Raises:
        ValueError: a share outside (0, 1), or fewer than 2 draws.
    """
    both, paired = {"images": embeddings.images, "texts": embeddings.texts}, None
    if embeddings.image_row is not None:
        paired = PairedGeometry(
            gap=paired_gap_statistics(embeddings),
            residuals=residual_statistics(embeddings, variance_share, draws),
            alignment=pair_alignment(embeddings),
            cka=paired_cka(embeddings),
        )
    return Geometry(
        dim=embeddings.dim,
        gap=gap_statistics(embeddings, variance_share, draws),
        spread={name: spread_statistics(rows, variance_share) for name, rows in both.items()},
        separability=separability(embeddings),
        uniformity={name: uniformity(rows, embeddings.two_of(len(rows), draws)) for name, rows in both.items()},
        cosines=cosine_statistics(embeddings, draws),
        paired=paired,
    )
