"""What is known of captions beside the scores of their words: CLIPScore, diversity, the training text."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from embedding_space.encoders.identity import is_same_encoder
from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import NAMES, ClipScoreFacts, ClipScoring, score_with_store
from evaluation.captions.diversity import Diversity, diversity, word_counts
from evaluation.captions.metrics import CaptionScores
from evaluation.captions.training_text import TrainingSource, TrainingText, compare_with_training_text

logger = logging.getLogger(__name__)


def with_clip_scores(
    scores: CaptionScores,
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    store: EmbeddingStore,
    split: str,
    options: ClipScoring,
    training_encoder: Mapping | None = None,
) -> tuple[CaptionScores, ClipScoreFacts]:
    """`scores` with CLIPScore and RefCLIPScore (see `score_with_store`), or None and why, where they cannot be had; and
    how they were taken."""
    facts, values, unavailable, warnings = options.facts(store), {}, {}, []
    if training_encoder is not None:
        facts = replace(facts, training_encoder=is_same_encoder(facts.encoder, training_encoder))
    try:
        judged = score_with_store({i: captions[i] for i in scores.image_ids}, references, store, split, options)
    except Exception as error:  # as for the other metrics: whatever stops this one, the others are scored
        unavailable = dict.fromkeys(NAMES, str(error) or type(error).__name__)
        logger.warning("CLIPScore could not run: %s", unavailable[NAMES[0]])
    else:
        values = {name: rows.double().numpy() for name, rows in judged.values.items()}
        facts = replace(facts, cut_texts=judged.cut_texts)
        if cut := " and ".join(f"{count} {what}" for what, count in judged.cut_texts.items() if count):
            warnings.append(f"CLIPScore's encoder reads {cut} only up to its context length: they are too long for it")
    corpus = {name: float(values[name].mean()) if name in values else None for name in NAMES}
    scores = replace(
        scores,
        corpus=scores.corpus | corpus,
        per_image=scores.per_image | values,
        unavailable=scores.unavailable | unavailable,
        warnings=[*scores.warnings, *warnings],
    )
    return scores, facts


def without_clip_scores(scores: CaptionScores, why: str) -> CaptionScores:
    """`scores` in which CLIPScore and RefCLIPScore are None, and why."""
    corpus, unavailable = dict.fromkeys(NAMES), dict.fromkeys(NAMES, why)
    return replace(scores, corpus=scores.corpus | corpus, unavailable=scores.unavailable | unavailable)


def with_text_statistics(
    scores: CaptionScores,
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    training: TrainingSource,
) -> tuple[CaptionScores, Diversity, TrainingText]:
    """`scores` with each caption's number of words and more warnings; how varied the captions are, and how they compare
    with the text that their decoder was trained on."""
    scored = {image_id: captions[image_id] for image_id in scores.image_ids}
    texts, warnings = list(scored.values()), []
    if training.store is None:
        text = TrainingText(unavailable=training.unavailable)
    else:
        text, warnings = compare_with_training_text(scored, references, training.store, training.split)
    if training.not_compared is not None:
        text = replace(text, not_compared=dict(training.not_compared))
    per_image = scores.per_image | {"words": np.array(word_counts(texts), dtype=np.float64)}
    scores = replace(scores, per_image=per_image, warnings=[*scores.warnings, *warnings])
    return scores, diversity(texts), text
