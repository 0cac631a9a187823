"""All that is said of a set of captions beside the scores of its words: CLIPScore, diversity, the training text."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import NAMES, ClipScoring, score_with_store
from evaluation.captions.diversity import diversity, word_counts
from evaluation.captions.metrics import CaptionScores
from evaluation.captions.training_text import compare_with_training_text

logger = logging.getLogger(__name__)


def with_clip_scores(
    scores: CaptionScores,
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    store: EmbeddingStore,
    split: str,
    options: ClipScoring,
) -> tuple[CaptionScores, dict]:
    """`scores` with CLIPScore and RefCLIPScore, see `score_with_store`, or None, and why, where they cannot be had; and
    how they were measured, the section `clip_score` of a results file."""
    facts, values, unavailable, warnings = options.facts(store), {}, {}, []
    try:
        found = score_with_store({i: captions[i] for i in scores.image_ids}, references, store, split, options)
    except Exception as error:  # as for the other metrics: whatever stops this one, the others stand
        unavailable = dict.fromkeys(NAMES, str(error) or type(error).__name__)
        logger.warning("CLIPScore could not run: %s", unavailable[NAMES[0]])
    else:
        values = {name: rows.double().numpy() for name, rows in found.values.items()}
        facts["cut_texts"] = found.cut_texts
        if cut := {what: count for what, count in found.cut_texts.items() if count}:
            told = " and ".join(f"{count} {what}" for what, count in cut.items())
            warnings.append(f"CLIPScore's encoder reads {told} only up to its context length: they are too long for it")
    corpus = {name: float(values[name].mean()) if name in values else None for name in NAMES}
    scores = replace(
        scores,
        corpus=scores.corpus | corpus,
        per_image=scores.per_image | values,
        unavailable=scores.unavailable | unavailable,
        warnings=[*scores.warnings, *warnings],
    )
    return scores, facts


def with_text_figures(
    scores: CaptionScores,
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    training: tuple[EmbeddingStore, str] | None,
    unknown: str,
) -> tuple[CaptionScores, dict]:
    """`scores` with each caption's number of words and more warnings, and the sections `diversity` and
    `training_text` of a results file.

    training: store and split that the decoder was trained on, None where that is not known, for the reason `unknown`.
    """
    own = {image_id: captions[image_id] for image_id in scores.image_ids}
    texts = list(own.values())
    sections, warnings = {"diversity": diversity(texts), "training_text": {"unavailable": unknown}}, []
    if training is not None:
        sections["training_text"], warnings = compare_with_training_text(own, references, *training)
    per_image = scores.per_image | {"words": np.array(word_counts(texts), dtype=np.float64)}
    return replace(scores, per_image=per_image, warnings=[*scores.warnings, *warnings]), sections
