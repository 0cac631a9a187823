"""All statistics of one state of the embeddings, raw or after an alignment, as JSON values."""

from __future__ import annotations

from evaluation.geometry.gap import gap_statistics, paired_gap_statistics
from evaluation.geometry.residuals import residual_statistics
from evaluation.geometry.sample import Embeddings
from evaluation.geometry.similarity import cosine_statistics, pair_alignment, paired_cka, separability, uniformity
from evaluation.geometry.spread import spread_statistics


def analyze(embeddings: Embeddings, variance_share: float = 0.99, draws: int = 20_000) -> dict:
    """All statistics of these rows. `paired` has those that need pairs, and is None without pairs.

    Args:
        variance_share: the leading directions that hold this share of a modality's variance are its span.
        draws: of pairs of rows, where all pairs would be too many.
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
