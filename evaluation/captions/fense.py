"""FENSE, a metric of captions of sounds, through aac-metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.extras import require


def fense_scores(
    references: Mapping[str, Sequence[str]], captions: Mapping[str, str]
) -> dict[str, tuple[float, list[float]]]:
    """FENSE and its two parts, of captions as they were written, in the order of `captions` (each 0 to 1).

    FENSE (arXiv 2110.04684) is the cosine of a sentence encoder between a caption and its references (SBERT), less 90 %
    of it where a classifier finds the caption not fluent (FER, the share of such captions). The two models are
    fetched from their hubs at the first use.

    Args:
        references: {id: [captions]}, of all ids in `captions`.
        captions: {id: caption}.

    Returns:
        {"FENSE", "SBERT", "FER": (the mean, a value per caption)}.

    Raises:
        ImportError: aac-metrics is not installed.
        OSError: its models cannot be had.
    """
    require("aac_metrics")
    from aac_metrics.functional.fense import fense  # pyright: ignore[reportMissingImports]

    corpus, each = fense(list(captions.values()), [list(references[name]) for name in captions])
    names = {"FENSE": "fense", "SBERT": "sbert_sim", "FER": "fer"}
    return {name: (float(corpus[key]), each[key].double().tolist()) for name, key in names.items()}
