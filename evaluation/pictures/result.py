"""What an evaluation of generated pictures comes to, as its `scores.json` holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pydantic import TypeAdapter

from evaluation.pictures.distances import KernelDistance
from evaluation.pictures.references import ReferenceFacts


@dataclass(frozen=True)
class JudgeFacts:
    """Whose embeddings CLIPScore and R-precision are by: those of other encoders or prompts are not comparable.

    encoder: its description. prefix, weight: see `ClipScoring`. candidates: see `RPrecision`.
    cut_sentences: how many were longer, with the prefix, than the encoder reads; None where it was not asked.
    read_by_generator: whether the generator read this encoder's embeddings, which favors it; None where nobody knows.
    """

    encoder: dict[str, Any]
    prefix: str
    weight: float
    candidates: int
    cut_sentences: int | None = None
    read_by_generator: bool | None = None


@dataclass(frozen=True, kw_only=True)
class PictureProtocol:
    """What was compared with what.

    sentences: how many different ones. pictures_per_sentence: the least and the most.
    sentences_from: "images.json" or "the pictures' own text". sentences_hash: SHA-256 of all of them in order.
    picture_size: pixels of the squares that all pictures were brought to before anything else.
    reference: the real pictures. encoder: whose features Fréchet and kernel distance and diversity are in.
    inception: what FID and KID are by. kernel: {name: how the kernel distances were drawn and vary}.
    judge: of the sentences. caption_judge: what says which things a picture shows.
    """

    folder: str
    pictures: int
    sentences: int
    pictures_per_sentence: tuple[int, int]
    sentences_from: str
    sentences_hash: str
    picture_size: int
    reference: ReferenceFacts
    encoder: dict[str, Any]
    inception: dict[str, Any] | None = None
    kernel: dict[str, KernelDistance] = field(default_factory=dict)
    judge: JudgeFacts | None = None
    caption_judge: dict[str, Any] | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class GenerationResult:
    """One evaluation of generated pictures.

    metrics: {name: value, or None for one that could not run}; shares and CLIPScore in percent, distances as they are.
    unavailable: {name: why it is None}. warnings: what makes the metrics suspicious, one sentence each.
    generation: what the pictures' `images.json` says of how they were generated.
    inputs: all that decides the result; an evaluation of equal inputs is reused.
    provenance: command, commit and machine of the evaluation.
    per_picture: {"files": [...], "sentences": [...], "caption_ids": [...], "image_ids": [...], metric: [a value for
        each picture, or None]}, kept in `per_picture.json`.
    """

    metrics: dict[str, float | None]
    protocol: PictureProtocol
    unavailable: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    generation: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    inputs: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    per_picture: dict[str, list] = field(default_factory=dict, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """What `scores.json` holds; the provenance is on its top level."""
        content = asdict(replace(self, per_picture={}))
        del content["per_picture"]
        return {**content.pop("provenance"), **content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> GenerationResult:
        """The result that a `scores.json` holds.

        Raises:
            ValueError: a section is not an object, or lacks what it must have.
        """
        names = {known.name for known in fields(cls)} - {"provenance", "per_picture"}
        provenance = {name: value for name, value in content.items() if name not in names}
        known = {name: value for name, value in content.items() if name in names}
        return TypeAdapter(cls).validate_python(known | {"provenance": provenance})
