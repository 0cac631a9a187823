"""All figures of one state of the embeddings, as JSON values: raw, or after an alignment."""

from __future__ import annotations

from evaluation.geometry.gap import gap_figures, paired_gap_figures
from evaluation.geometry.residuals import residual_figures
from evaluation.geometry.sample import Embeddings
from evaluation.geometry.similarity import cosine_figures, pair_alignment, paired_cka, separability, uniformity
from evaluation.geometry.spread import spread_figures


def analyze(embeddings: Embeddings, variance_share: float = 0.99, draws: int = 20_000) -> dict:
    """Every figure of these rows; `paired` holds those that need pairs, and is None where there are none.

    Args:
        variance_share: of a modality's variance that its leading directions shall hold, to count as its span.
        draws: of pairs of rows, where all pairs would be too many.

    Raises ValueError for a share outside (0, 1) and fewer than 2 draws.
    """
    if not 0 < variance_share < 1:
        raise ValueError(f"variance_share={variance_share} must lie between 0 and 1")
    if draws < 2:
        raise ValueError(f"draws={draws} must be at least 2")
    both = {"images": embeddings.images, "texts": embeddings.texts}
    figures = {
        "dim": embeddings.dim,
        "gap": gap_figures(embeddings, variance_share, draws),
        "spread": {name: spread_figures(rows, variance_share) for name, rows in both.items()},
        "separability": separability(embeddings),
        "uniformity": {name: uniformity(rows, embeddings.two_of(len(rows), draws)) for name, rows in both.items()},
        "cosines": cosine_figures(embeddings, draws),
        "paired": None,
    }
    if embeddings.image_row is not None:
        figures["paired"] = {
            "gap": paired_gap_figures(embeddings),
            "residuals": residual_figures(embeddings, variance_share, draws),
            "alignment": pair_alignment(embeddings),
            "cka": paired_cka(embeddings),
        }
    return figures
