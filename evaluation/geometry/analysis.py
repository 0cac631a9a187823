"""All statistics of one state of the embeddings, raw or after an alignment, as JSON values."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from common.checks import checked_options
from evaluation.geometry.gap import gap_statistics, paired_gap_statistics
from evaluation.geometry.residuals import residual_statistics
from evaluation.geometry.sample import Embeddings
from evaluation.geometry.similarity import cosine_statistics, pair_alignment, paired_cka, separability, uniformity
from evaluation.geometry.spread import spread_statistics


@checked_options()
def analyze(
    embeddings: Embeddings,
    variance_share: Annotated[float, Field(gt=0, lt=1)] = 0.99,
    draws: Annotated[int, Field(ge=2)] = 20_000,
) -> dict:
    """All statistics of these rows. `paired` has those that need pairs, and is None without pairs.

    Args:
        variance_share: the leading directions that hold this share of a modality's variance are its span.
        draws: of pairs of rows, where all pairs would be too many.

    Raises:
        ValueError: a share outside (0, 1), or fewer than 2 draws.
    """
    both = {"images": embeddings.images, "texts": embeddings.texts}
    statistics = {
        "dim": embeddings.dim,
        "gap": gap_statistics(embeddings, variance_share, draws),
        "spread": {name: spread_statistics(rows, variance_share) for name, rows in both.items()},
        "separability": separability(embeddings),
        "uniformity": {name: uniformity(rows, embeddings.two_of(len(rows), draws)) for name, rows in both.items()},
        "cosines": cosine_statistics(embeddings, draws),
        "paired": None,
    }
    if embeddings.image_row is not None:
        statistics["paired"] = {
            "gap": paired_gap_statistics(embeddings),
            "residuals": residual_statistics(embeddings, variance_share, draws),
            "alignment": pair_alignment(embeddings),
            "cka": paired_cka(embeddings),
        }
    return statistics
