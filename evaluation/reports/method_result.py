"""One row of a comparison of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from evaluation.captions.result import EvaluationResult


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """What a method comes to with one seed and one decoding. Older files lack newer fields: they are None.

    result: of the evaluation in the folder `evaluation`. total_seconds: of its trainings and of captioning.
    trained_as: the method whose training made its captioner, and training_device the device of that.
    trained_parameters: of its trainings. memory_bytes: of the text memories that captioning reads.
    method_class: what it has learned from and reads. encoder_name: of the embeddings of the images.
    tested_on: another data set than that of the training. share: of the captions that it was trained on.
    pairs_share: of the image-text pairs that it went on with. percent: one of both, as a number.
    published: the earlier comparison that the row is from; its captions were scored again in `evaluation`.
    """

    result: EvaluationResult
    method: str
    seed: int
    decoding_name: str
    evaluation: str | None = None
    total_seconds: float | None = None
    alignment: str | None = None
    trained_as: str | None = None
    training_device: str | None = None
    trained_parameters: int | None = None
    memory_bytes: int | None = None
    method_class: str | None = None
    encoder_name: str | None = None
    tested_on: str | None = None
    share: str | None = None
    pairs_share: str | None = None
    percent: float | None = None
    published: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The row in `results.json`: the evaluation's result, and the row's own values on the same level."""
        row = {name: value for name, value in vars(self).items() if name != "result" and value is not None}
        return {**row, "training_device": None, **self.result.to_json(), **row}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> MethodResult:
        """A row of a `results.json`, of this version or an earlier one."""
        names = {known.name for known in fields(cls)} - {"result"}
        row = {name: value for name, value in content.items() if name in names}
        rest = {name: value for name, value in content.items() if name not in names}
        return cls(result=EvaluationResult.from_json(rest), **row)

    @property
    def evaluated_on(self) -> str | None:
        """Name of the data set that was captioned."""
        return self.result.evaluated_on and self.result.evaluated_on.dataset

    @property
    def captions_per_second(self) -> float | None:
        """Images captioned in a second, without loading the captioner; None where that was not measured."""
        seconds = self.result.seconds and self.result.seconds.captioning
        return self.result.images / seconds if seconds else None

    @property
    def cider(self) -> float | None:
        """CIDEr times 100; None where it could not run."""
        return self.result.metrics.get("CIDEr")
