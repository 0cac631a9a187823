"""How captions are scored, and against which references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from embedding_space.store import EmbeddingStore
from evaluation.captions.clip_score import ClipScoring
from evaluation.captions.metrics import METRICS, OF_PICTURES, named

CLIP_SCORE = "CLIPScore"
CLASSES = "classes"
ALL_METRICS = (*METRICS, CLIP_SCORE)


class NoReferences(ValueError):
    """There is no caption to score against."""


@dataclass(frozen=True)
class Scoring:
    """Options of the scores.

    metrics: names from `ALL_METRICS`, one of `METRICS` at least. cache_dir: where tokenized references are kept.
    clip_score: how CLIPScore, if it is among the metrics, is taken. classes: the words of each class, for the metric
    `classes` alone, which needs two at least.

    Raises ValueError for other metrics, and for that one without classes.
    """

    metrics: Sequence[str] = OF_PICTURES
    cache_dir: str | Path | None = None
    clip_score: ClipScoring = field(default_factory=ClipScoring)
    classes: Sequence[str] = ()

    def __post_init__(self):
        known = ", ".join(ALL_METRICS)
        if unknown := set(self.metrics) - set(ALL_METRICS):
            raise ValueError(f"Unknown metrics {sorted(map(str, unknown))} (option metrics); known: {known}")
        if not set(self.metrics) & set(METRICS):
            raise ValueError(f"metrics={list(self.metrics)} must name at least one of {', '.join(METRICS)}")
        if CLASSES in self.metrics and (len(set(self.classes)) != len(self.classes) or len(self.classes) < 2):
            raise ValueError(
                f"The metric {CLASSES} needs the words of two classes at least, each once, such as "
                f"'classes=[a dog,a cat]', but classes={list(self.classes)}"
            )

    def inputs(self) -> dict:
        """What an evaluation records of its scoring."""
        clip = {"store": self.clip_score.store, "prefix": self.clip_score.prefix, "weight": self.clip_score.weight}
        if CLIP_SCORE in self.metrics:
            clip["reference_prefix"] = self.clip_score.prefix  # there was none: RefCLIPScore was another
        classes = {CLASSES: list(self.classes)} if CLASSES in self.metrics else {}
        return {"metrics": list(self.metrics), "clip_score": clip, **classes}


@dataclass(frozen=True)
class ReferenceSet:
    """What captions are scored against.

    captions: {image_id: [references]}, with a word in at least one for each image.
    left_out: ids of images without any, which are not scored.
    parts: {name: [image ids]}: where there are several, each is scored with n-gram weights of its own references, as
        when it were the only one; ids that are not scored are left out.
    """

    captions: dict[str, list[str]]
    left_out: list[str] = field(default_factory=list)
    parts: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, captions: Mapping[str, Sequence[str]], source: str, parts: Mapping[str, list[str]] | None = None
    ) -> ReferenceSet:
        """Raises NoReferences when no image has any; `source` says where they are from."""
        kept = {i: list(texts) for i, texts in captions.items() if any(text.strip() for text in texts)}
        if not kept:
            raise NoReferences(f"None of the {len(captions):,} images of {source} has captions to score against")
        return cls(kept, [image_id for image_id in captions if image_id not in kept], dict(parts or {}))

    def without_first(self) -> ReferenceSet:
        """For captions that are written from each image's first reference. Raises ValueError where it is the only
        one."""
        if lonely := [image_id for image_id, captions in self.captions.items() if len(captions) < 2]:
            raise ValueError(
                f"{named(lonely)} with fewer than two captions: an oracle that reads texts (caption_from=texts, "
                "oracle_text) needs one to read and one to score against"
            )
        return replace(self, captions={image_id: captions[1:] for image_id, captions in self.captions.items()})


def split_references(store: EmbeddingStore, split: str) -> ReferenceSet:
    """The references of a store's split. Raises ValueError when there is no such split, or none of its images has
    captions."""
    parts = {part: store.image_ids(part) for part in store.tables.parts(split)}
    try:
        return ReferenceSet.of(store.tables.references(split), f"the split {split!r} of {store.path.parent}", parts)
    except NoReferences as error:
        raise NoReferences(f"{error}: choose a split that has some with split=...") from error
