"""Scoring captions of a store's split. It knows no captioner."""

from __future__ import annotations

from collections.abc import Mapping

from embedding_space.store import EmbeddingStore
from evaluation.captions.result import EvaluationResult
from evaluation.captions.scorer import Scorer
from evaluation.captions.scoring_options import ReferenceSet, Scoring, split_references
from evaluation.captions.training_text import TrainingSource


def score_split(
    predictions: Mapping[str, str], store: EmbeddingStore, split: str, scoring: Scoring | None = None
) -> EvaluationResult:
    """Scores of captions {image_id: caption} of all images of a split that have captions to score against.

    Captions of any code go this way; those of a `Captioner` go through `split_scorer`, with a folder and references.

    Raises:
        ValueError: there is no such split, none of its images has captions, or the captions are of other images.
    """
    return split_scorer(store, split, scoring or Scoring()).score(predictions)


def split_scorer(
    store: EmbeddingStore,
    split: str,
    scoring: Scoring,
    references: ReferenceSet | None = None,
    training: TrainingSource | None = None,
) -> Scorer:
    """What `score_split` scores with.

    Args:
        references: in the place of the split's own.
        training: the text that the captions' decoder was trained on.

    Raises:
        ValueError: as `split_references`; the store that judges CLIPScore is of another data set.
        FileNotFoundError: there is no such store.
    """
    judge = EmbeddingStore(scoring.clip_score.store) if scoring.clip_score.store else store
    if judge.manifest.tables_hash != store.manifest.tables_hash:
        raise ValueError(
            f"clip_score.store={judge.path} was made from other tables than {store.path}: it has to hold the same "
            "images and captions"
        )
    training = training or TrainingSource(unavailable="nobody said what the captions' decoder was trained on")
    return Scorer(scoring, references or split_references(store, split), judge, split, training)
