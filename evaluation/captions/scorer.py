"""Scoring captions of one set of images, whole and part by part. It knows no captioner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import NAMES as CLIP_NAMES
from evaluation.captions.clip_score import ClipScoreFacts
from evaluation.captions.evaluation_folder import EvaluationFolder
from evaluation.captions.extra_scores import with_clip_scores, with_text_statistics, without_clip_scores
from evaluation.captions.metrics import METRICS, CaptionScores, score_captions
from evaluation.captions.metrics import NAMES as CAPTION_NAMES
from evaluation.captions.result import EvaluationResult, LeftOut, PartResult, Seconds
from evaluation.captions.scoring_options import ALL_METRICS, CLIP_SCORE, ReferenceSet, Scoring
from evaluation.captions.training_text import TrainingSource

_NAMES = {**CAPTION_NAMES, CLIP_SCORE: CLIP_NAMES}  # {metric: the names of its values}
Result = TypeVar("Result", bound=PartResult)


@dataclass(frozen=True)
class Scorer:
    """Scores captions against references, with what is known of the images and of the captions' origin.

    judge, split: the store, and the split of the images in it, by whose encoder CLIPScore judges. It is unavailable
        where there is no store.
    training: the text that the captions' decoder was trained on.
    allow_missing: score the images that were predicted although there are references of more.
    """

    scoring: Scoring
    references: ReferenceSet
    judge: EmbeddingStore | None = None
    split: str = ""
    training: TrainingSource = field(default_factory=TrainingSource)
    allow_missing: bool = False

    def score(self, predictions: Mapping[str, str], folder: EvaluationFolder | None = None) -> EvaluationResult:
        """Scores of {image_id: caption}.

        folder: keeps the predictions before anything is scored, and the metrics before anything else, whatever may
            stop what follows.

        Raises ValueError when predictions and references are of different images.
        """
        captions = self.references.captions
        if folder is not None:
            folder.write_predictions(predictions)
        scores, clip_score, parts = self._scores(self.scoring.metrics, predictions, captions, self.allow_missing)
        left_out = self.references.left_out
        result = EvaluationResult(
            **vars(PartResult.of(scores)),
            left_out=LeftOut(len(left_out), left_out) if left_out else None,
            clip_score=clip_score,
            parts=parts,
            seconds=Seconds(scoring=scores.seconds),
            per_image=_per_image(scores),
        )
        if folder is not None:
            folder.write(replace(result, unfinished=True))
        scores, diversity, text = with_text_statistics(scores, predictions, captions, self.training)
        per_image, warnings = _per_image(scores), scores.warnings
        return replace(result, diversity=diversity, training_text=text, per_image=per_image, warnings=warnings)

    def reuse(self, folder: EvaluationFolder) -> EvaluationResult | None:
        """What the folder holds of the same inputs, after another try at metrics that failed; None where there is
        nothing, and where the captions of failed metrics are gone. Raises as `EvaluationFolder.read`."""
        result = folder.read()
        if result is not None and (failed := failed_metrics(result)):
            result = self._retried(result, failed, folder)
        if result is not None:
            folder.say_reused(result)
        return result

    def _retried(
        self, result: EvaluationResult, failed: list[str], folder: EvaluationFolder
    ) -> EvaluationResult | None:
        try:
            predictions, per_image = folder.read_captions()
            references = {image_id: self.references.captions[image_id] for image_id in per_image["image_ids"]}
            predictions = {image_id: predictions[image_id] for image_id in references}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        scores, clip_score, parts = self._scores(failed, predictions, references, allow_missing=True)
        before = result.parts or {}
        merged = {name: _merged(before[name], part, failed) for name, part in (parts or {}).items()}
        result = replace(
            _merged(result, PartResult.of(scores), failed),
            clip_score=clip_score or result.clip_score,
            parts=result.parts and {**before, **merged},
            per_image=per_image | _per_image(scores),
        )
        if failed_metrics(result) != failed:
            folder.write(result)
        return result

    def _scores(
        self, metrics: Sequence[str], predictions: Mapping[str, str], references: Mapping, allow_missing: bool
    ) -> tuple[CaptionScores, ClipScoreFacts | None, dict[str, PartResult] | None]:
        clip_score, parts = None, None
        if words := [name for name in metrics if name in METRICS]:
            scores = self._word_scores(predictions, references, words, allow_missing)
        else:
            scores = CaptionScores({}, {}, [image_id for image_id in references if image_id in predictions])
        if CLIP_SCORE in metrics:
            if self.judge is None:
                why = "no store of the images is known: name it with clip_score.store=..."
                scores = without_clip_scores(scores, why)
            else:
                how = (self.judge, self.split, self.scoring.clip_score, self.training.encoder)
                scores, clip_score = with_clip_scores(scores, predictions, references, *how)
        if len(self.references.parts) > 1:
            chosen = {name: set(ids) & set(scores.image_ids) for name, ids in self.references.parts.items()}
            parts = {n: self._part(scores, ids, words, predictions, references) for n, ids in chosen.items() if ids}
        return scores, clip_score, parts

    def _word_scores(
        self, predictions: Mapping[str, str], references: Mapping, metrics: list[str], allow_missing: bool = False
    ) -> CaptionScores:
        how = self.scoring
        return score_captions(predictions, references, metrics, how.cache_dir, allow_missing, how.classes)

    def _part(
        self, whole: CaptionScores, image_ids: set[str], metrics: list[str], predictions: Mapping, references: Mapping
    ) -> PartResult:
        inside = [image_id for image_id in whole.image_ids if image_id in image_ids]
        failed = failed_metrics(PartResult.of(whole))  # they would fail here as well
        part = PartResult(images=len(image_ids))
        if runs := [name for name in metrics if name not in failed]:
            said, known = ({image_id: texts[image_id] for image_id in inside} for texts in (predictions, references))
            part = PartResult.of(self._word_scores(said, known, runs))
        rows = np.array([image_id in image_ids for image_id in whole.image_ids])
        values_of: dict[str, float | None] = {}
        for name in whole.corpus:
            values = whole.per_image.get(name)  # of CLIPScore, which looks at no other image
            others = None if values is None else 100 * float(values[rows].mean())
            values_of[name] = part.metrics.get(name, others)
        return replace(part, metrics=values_of, unavailable=part.unavailable | whole.unavailable)


def failed_metrics(result: PartResult) -> list[str]:
    """The metrics that a result lacks, as they could not run, whole or in a part."""
    parts = (isinstance(result, EvaluationResult) and result.parts) or {}
    missing = {name for part in (result, *parts.values()) for name in part.unavailable}
    return [metric for metric in ALL_METRICS if missing & set(_NAMES[metric])]


def _merged(before: Result, again: PartResult, metrics: Sequence[str]) -> Result:
    names = {name for metric in metrics for name in _NAMES[metric]}
    unavailable = {name: why for name, why in before.unavailable.items() if name not in names}
    return replace(
        before,
        metrics={**before.metrics, **again.metrics},
        unavailable=unavailable | again.unavailable,
        warnings=[*before.warnings, *(text for text in again.warnings if text not in before.warnings)],
    )


def _per_image(scores: CaptionScores) -> dict[str, list]:
    return {"image_ids": scores.image_ids, **{name: values.tolist() for name, values in scores.per_image.items()}}
