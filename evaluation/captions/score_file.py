"""Scoring a file of captions against a file of references."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from embedding_space.store import EmbeddingStore
from evaluation.captions.evaluation_folder import EvaluationFolder, Existing
from evaluation.captions.prediction_files import read_predictions
from evaluation.captions.references import read_reference_file
from evaluation.captions.result import EvaluationResult
from evaluation.captions.scorer import Scorer
from evaluation.captions.scoring_options import CLIP_SCORE, ReferenceSet, Scoring
from evaluation.captions.training_text import TrainingSource


def score_file(
    predictions_file: str | Path,
    references_file: str | Path,
    output_dir: str | Path,
    scoring: Scoring,
    references_split: str | None = None,
    image_split: str = "",
    training_store: str | Path | None = None,
    allow_missing: bool = False,
    existing: Existing = "overwrite",
) -> EvaluationResult:
    """Score captions that somebody wrote; `output_dir` then holds what `EvaluationFolder` says.

    Args:
        references_split: of a Karpathy file.
        image_split: of the images in `scoring.clip_score.store`, by which CLIPScore judges.
        training_store: of the text that the captions' decoder was trained on, if that is known.
        allow_missing: score what is predicted although there are references of more images.
        existing: see `EvaluationFolder`.

    Raises:
        ValueError: a file is malformed; they are of different images; the folder is refused.
        FileNotFoundError: a file or store is not there.
    """
    predictions = read_predictions(predictions_file)
    file = read_reference_file(references_file, references_split, predictions)
    references = ReferenceSet.of(file.captions, str(references_file), file.parts)
    left_out = [image_id for image_id in (*file.uncaptioned, *references.left_out) if image_id in predictions]
    references = replace(references, left_out=left_out)
    predictions = {image_id: caption for image_id, caption in predictions.items() if image_id not in set(left_out)}
    judge = None
    if scoring.clip_score.store and CLIP_SCORE in scoring.metrics:
        judge = EmbeddingStore(scoring.clip_score.store)
    if training_store:
        store = EmbeddingStore(training_store)
        training = TrainingSource(store, store.text_split)
    else:
        training = TrainingSource(
            unavailable="name the store of the text that the captioner was trained on with training_store=..."
        )
    inputs = {
        "predictions": content_hash(predictions),
        "references": content_hash([references.captions, file.parts]),
        **({"allow_missing": True} if allow_missing else {}),
        **scoring.inputs(),
        **({"clip_store": judge.hash, "split": image_split} if judge else {}),
        "training_store": training.store and training.store.hash,
    }
    folder = EvaluationFolder(Path(output_dir), inputs, existing)
    scorer = Scorer(scoring, references, judge, image_split, training, allow_missing)
    if reused := scorer.reuse(folder):
        return reused
    files = {"predictions": str(predictions_file), "references": str(references_file)}
    result = replace(scorer.score(predictions, folder), **files, inputs=inputs)
    folder.finish(result)
    return result


def content_hash(content: object) -> str:
    """What an evaluation records of captions or references: 16 hexadecimal digits of their SHA-256."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
