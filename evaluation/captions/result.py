"""What an evaluation of captions comes to, as its `scores.json` holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pydantic import TypeAdapter

from evaluation.captions.clip_score import ClipScoreFacts
from evaluation.captions.diversity import Diversity
from evaluation.captions.metrics import CaptionScores
from evaluation.captions.training_text import TrainingText
from evaluation.embeddings.retrieval import Gap


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """Metrics of a set of captions, or of a part of it such as one of NoCaps' domains.

    metrics: {name: value times 100, or None for one that could not run}.
    unavailable: {name: why it is None}. warnings: what makes the metrics suspicious, one sentence each.
    """

    metrics: dict[str, float | None] = field(default_factory=dict)
    images: int = 0
    unavailable: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, scores: CaptionScores) -> PartResult:
        return cls(
            metrics=scores.percent(),
            images=len(scores.image_ids),
            unavailable=scores.unavailable,
            warnings=scores.warnings,
        )


@dataclass(frozen=True)
class LeftOut:
    """Images that were not scored, as they have no captions."""

    images: int
    image_ids: list[str]


@dataclass(frozen=True)
class Likelihood:
    """How likely the captioner finds its captions: mean nats per token, over so many tokens. A high likelihood means
    no more than certainty."""

    per_token: float
    tokens: int


@dataclass(frozen=True)
class EvaluatedOn:
    """The data set that was captioned, and its embeddings."""

    dataset: str
    store_hash: str | None = None


@dataclass(frozen=True)
class Seconds:
    """How long the parts of the evaluation took."""

    scoring: float | None = None
    captioning: float | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(PartResult):
    """One evaluation. Older files lack newer fields, and files of captions lack those of a captioner: they are None.

    parts: {name: its own result} of a split of several parts.
    inputs: all that decides the result; an evaluation of equal inputs is reused.
    predictions, references: the files that were scored.
    checkpoint to uses_pairs: of a captioner: the folder, what it read, how it decoded and where it ran.
        image_mean: where the image mean that was subtracted comes from. image_alignment: the chain that took the
        place of the captioner's. provenance: what its training recorded of itself.
    unfinished: more is to come, the evaluation was stopped before.
    per_image: {"image_ids": [...], metric: [a value for each image]}, kept in `per_image.json`.
    """

    left_out: LeftOut | None = None
    diversity: Diversity | None = None
    training_text: TrainingText | None = None
    clip_score: ClipScoreFacts | None = None
    parts: dict[str, PartResult] | None = None
    seconds: Seconds | None = None
    inputs: dict[str, Any] | None = None
    predictions: str | None = None
    references: str | None = None
    checkpoint: str | None = None
    split: str | None = None
    caption_from: str | None = None
    decoding: dict[str, Any] | None = None
    log_likelihood: Likelihood | None = None
    gap: Gap | None = None
    evaluated_on: EvaluatedOn | None = None
    image_mean: dict[str, str | None] | None = None
    precision: str | None = None
    device: str | None = None
    image_alignment: list[dict] | None = None
    uses_pairs: bool | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    unfinished: bool | None = None
    per_image: dict[str, list] = field(default_factory=dict, compare=False, repr=False)

    def to_json(self) -> dict:
        """What `scores.json` holds; the provenance is on its top level."""
        content = asdict(replace(self, per_image={}), dict_factory=_without_none)
        del content["per_image"]
        return {**content.pop("provenance"), **content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> EvaluationResult:
        """The result that a `scores.json` holds, of this version or an earlier one.

        Raises:
            ValueError: a section is not an object, or lacks what it must have.
        """
        names = {known.name for known in fields(cls)} - {"provenance", "per_image"}
        provenance = {name: value for name, value in content.items() if name not in names}
        known = {name: value for name, value in content.items() if name in names}
        return TypeAdapter(cls).validate_python(known | {"provenance": provenance})


def _without_none(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a dataclass's fields; dicts within it keep theirs, such as metrics that could not run."""
    return {name: value for name, value in items if value is not None}
