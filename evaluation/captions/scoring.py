"""What is measured of a set of captions: the metrics that were asked for, whole and part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import NAMES as CLIP_NAMES
from evaluation.captions.clip_score import ClipScoring
from evaluation.captions.extra_scores import with_clip_scores
from evaluation.captions.metrics import METRICS, CaptionScores, score_captions
from evaluation.captions.metrics import NAMES as CAPTION_NAMES

CLIP_SCORE = "CLIPScore"
MEASURES = (*METRICS, CLIP_SCORE)
_NAMES = {**CAPTION_NAMES, CLIP_SCORE: CLIP_NAMES}  # {metric: its figures}


def check_metrics(metrics: Sequence[str] | None) -> None:
    """Raises ValueError for a name that is not among `MEASURES`, and when none of `METRICS` is left."""
    if unknown := set(metrics or ()) - set(MEASURES):
        raise ValueError(f"Unknown metrics {sorted(map(str, unknown))} (option metrics); known: {', '.join(MEASURES)}")
    if not set(metrics or ()) & set(METRICS):
        raise ValueError(f"metrics={list(metrics or ())} must name at least one of {', '.join(METRICS)}")


class NoReferences(ValueError):
    """There is no caption to score against."""


def with_words(references: Mapping[str, Sequence[str]], of: str) -> tuple[dict[str, list[str]], list[str]]:
    """The references of the images that have any, and the ids of the others, which cannot be scored: their captions are
    not there or blank. Raises NoReferences when no image has any; `of` says where these are from."""
    kept = {i: list(captions) for i, captions in references.items() if any(text.strip() for text in captions)}
    if not kept:
        raise NoReferences(f"None of the {len(references):,} images of {of} has captions to score against")
    return kept, [image_id for image_id in references if image_id not in kept]


def split_references(store: EmbeddingStore, split: str) -> tuple[dict[str, list[str]], list[str]]:
    """`with_words` of a store's split. Raises ValueError for a split that the data set does not have, too."""
    try:
        return with_words(store.tables.references(split), f"the split {split!r} of {store.path.parent}")
    except NoReferences as error:
        raise NoReferences(f"{error}: choose a split that has some with split=...") from error


def named(image_ids: Sequence[str], noun: str = "image") -> str:
    """`3 images (a, b, c)`, the first ten by name."""
    some = ", ".join(image_ids[:10]) + (", …" if len(image_ids) > 10 else "")
    return f"{len(image_ids):,} {noun}{'' if len(image_ids) == 1 else 's'} ({some})"


def left_out_figures(image_ids: Sequence[str]) -> dict:
    """What a results file says of images that were not scored, for they have no captions; {} where there are none."""
    return {"left_out": {"images": len(image_ids), "image_ids": list(image_ids)}} if image_ids else {}


@dataclass(frozen=True)
class Scoring:
    """How captions are measured.

    metrics: names from `MEASURES`. cache_dir: where tokenised references are kept.
    clip, clip_store, split: how CLIPScore is measured, by whose encoder and on the images of which split; it is left
        out where there is no store.
    parts: {name: image ids}: where there are several, each is scored with n-gram weights of its own, as when it were
        the only one; ids that are not scored are left out.
    """

    metrics: Sequence[str]
    cache_dir: str | Path | None = None
    clip: ClipScoring = field(default_factory=ClipScoring)
    clip_store: EmbeddingStore | None = None
    split: str = ""
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def measure(
        self, predictions: Mapping[str, str], references: Mapping[str, Sequence[str]], allow_missing: bool = False
    ) -> tuple[CaptionScores, dict]:
        """Scores of {image_id: caption}, and the sections `clip_score` and `parts` of a results file."""
        sections = {}
        if words := [name for name in self.metrics if name in METRICS]:
            scores = score_captions(predictions, references, words, self.cache_dir, allow_missing)
        else:
            scores = CaptionScores({}, {}, [image_id for image_id in references if image_id in predictions])
        if CLIP_SCORE in self.metrics and self.clip_store is not None:
            options = (self.clip_store, self.split, self.clip)
            scores, sections["clip_score"] = with_clip_scores(scores, predictions, references, *options)
        if len(self.parts) > 1:
            chosen = {name: set(ids) & set(scores.image_ids) for name, ids in self.parts.items()}
            sections["parts"] = {
                name: self._part(scores, ids, words, predictions, references) for name, ids in chosen.items() if ids
            }
        return scores, sections

    def measure_again(
        self, figures: dict, per_image: dict, predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]
    ) -> tuple[dict, dict]:
        """An earlier evaluation's figures and values image by image, with another try at the metrics that failed."""
        tried = replace(self, metrics=failed_metrics(figures))
        scores, sections = tried.measure(predictions, references, allow_missing=True)
        figures = _merged(figures, scores.to_dict(), tried.metrics)
        if "clip_score" in sections:
            figures["clip_score"] = {**figures.get("clip_score", {}), **sections["clip_score"]}
        for name, part in sections.get("parts", {}).items():
            figures["parts"] = {**figures["parts"], name: _merged(figures["parts"][name], part, tried.metrics)}
        return figures, per_image | {name: values.tolist() for name, values in scores.per_image.items()}

    def _part(
        self, whole: CaptionScores, image_ids: set[str], metrics: list[str], predictions: Mapping, references: Mapping
    ) -> dict:
        some = ({i: texts[i] for i in whole.image_ids if i in image_ids} for texts in (predictions, references))
        failed = failed_metrics(whole.to_dict())  # they would fail here as well
        own = {"metrics": {}, "images": len(image_ids), "unavailable": {}, "warnings": []}
        if runs := [name for name in metrics if name not in failed]:
            own = score_captions(*some, runs, self.cache_dir).to_dict()
        own["unavailable"] |= whole.unavailable
        rows = np.array([image_id in image_ids for image_id in whole.image_ids])
        for name in [name for name in whole.corpus if name not in own["metrics"]]:
            values = whole.per_image.get(name)  # of CLIPScore, which looks at no other image
            own["metrics"][name] = None if values is None else 100 * float(values[rows].mean())
        own["metrics"] = {name: own["metrics"][name] for name in whole.corpus}
        return own


def failed_metrics(figures: Mapping) -> list[str]:
    """The metrics that an evaluation's figures lack, as they could not run, whole or in a part."""
    missing = {name for part in (figures, *figures.get("parts", {}).values()) for name in part.get("unavailable", {})}
    return [metric for metric in MEASURES if missing & set(_NAMES[metric])]


def _merged(before: Mapping, again: Mapping, metrics: Sequence[str]) -> dict:
    names = {name for metric in metrics for name in _NAMES[metric]}
    unavailable = {name: why for name, why in before.get("unavailable", {}).items() if name not in names}
    warnings = before.get("warnings", [])
    return {
        **before,
        "metrics": {**before["metrics"], **again["metrics"]},
        "unavailable": unavailable | again.get("unavailable", {}),
        "warnings": [*warnings, *(text for text in again.get("warnings", []) if text not in warnings)],
    }
