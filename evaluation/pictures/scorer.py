"""Scoring generated pictures against real ones and against their sentences. It knows no generator."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from common.provenance import run_facts
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.identity import is_same_encoder
from evaluation.captions.clip_score import clip_score
from evaluation.embeddings.retrieval import text_to_image
from evaluation.pictures.attempts import Attempts, Values
from evaluation.pictures.caption_judge import CaptionJudge
from evaluation.pictures.compared_sets import ComparedSets
from evaluation.pictures.distances import KernelDistance
from evaluation.pictures.diversity import mean_distance, mean_distance_within
from evaluation.pictures.features import EncoderFeatures
from evaluation.pictures.generated import Generated
from evaluation.pictures.inception import InceptionFeatures
from evaluation.pictures.references import References
from evaluation.pictures.result import GenerationResult, JudgeFacts, PictureProtocol
from evaluation.pictures.scoring_options import PictureScoring
from evaluation.pictures.sentences import r_precision

COLUMNS = ("files", "sentences", "caption_ids", "image_ids")  # of the pictures, in results
WITHIN, OF_REFERENCES = "diversity within a sentence", "diversity of the references"


@dataclass(frozen=True)
class PictureScorer:
    """Scores one set of generated pictures.

    encoder: in whose image features both sets are compared.
    judge: whose embeddings say whether a picture is like its sentence; by default the encoder.
    caption_judge: what says which things a picture shows; None where nothing knows the pictures' world.
    """

    generated: Generated
    references: References
    encoder: Encoder
    scoring: PictureScoring = field(default_factory=PictureScoring)
    judge: Encoder | None = None
    caption_judge: CaptionJudge | None = None

    @cached_property
    def side(self) -> int:
        """Pixels of the squares that all pictures are brought to."""
        return self.scoring.picture_size or self.generated.least_side

    def inputs(self) -> dict[str, Any]:
        """All that decides the result."""
        return {
            "generated": self.generated.hash,
            "reference": self.references.facts.hash,
            "split": self.references.facts.split,
            "encoder": self.encoder.description,
            "judge": (self.judge or self.encoder).description,
            "caption_judge": self.caption_judge and self.caption_judge.description,
            "inception_weights": self.scoring.inception_weights,
            "picture_size": self.side,
            **self.scoring.inputs(),
        }

    def score(self) -> GenerationResult:
        """All metrics of the options; one that cannot run is None, with the reason.

        Raises UnreadablePictures.
        """
        started = time.perf_counter()
        return replace(_Scoring(self).run(), inputs=self.inputs(), seconds=time.perf_counter() - started)


class _Scoring:
    """One run: what is measured so far, and the features that several metrics share."""

    def __init__(self, scorer: PictureScorer):
        self.scorer, self.options, self.generated = scorer, scorer.scoring, scorer.generated
        self.judge = scorer.judge or scorer.encoder
        files = (scorer.generated.paths, scorer.references.paths, scorer.side)
        one_by_one = any(map(self._wants, ("kernel", "CLIPScore", "R-precision", "diversity")))
        self.by_encoder = ComparedSets(lambda: EncoderFeatures(scorer.encoder), *files, keep_rows=one_by_one)
        self.by_judge = self.by_encoder
        if scorer.judge is not None:
            self.by_judge = ComparedSets(lambda: EncoderFeatures(self.judge), *files)
        weights, workers = self.options.inception_weights, scorer.encoder.workers
        self.by_inception = ComparedSets(
            lambda: InceptionFeatures(weights, workers=workers), *files, keep_rows=self._wants("KID")
        )
        self.attempts, self.kernel, self.warnings = Attempts(), dict[str, KernelDistance](), list[str]()

    def run(self) -> GenerationResult:
        name = self.scorer.encoder.description["name"]
        self._distances(self.by_inception, {"FID": "FID", "KID": "KID"})
        distances = {"Frechet": f"Fréchet distance ({name})", "kernel": f"kernel distance ({name})"}
        self._distances(self.by_encoder, distances)
        if self._wants("CLIPScore"):
            self.attempts.run(["CLIPScore"], self._clip_scores)
        if self._wants("R-precision"):
            self.attempts.run(["R-precision"], self._r_precision)
            self.attempts.run(["R@1", "R@5"], self._recalls)
        if self._wants("diversity"):
            self._diversity()
        if self._wants("objects") and self.scorer.caption_judge is not None:
            self._objects(self.scorer.caption_judge)
        if left_over := self.generated.left_over:
            self.warnings.append(
                f"{len(left_over):,} pictures in {self.generated.folder} are not in its images.json and were not "
                f"scored; the first: {left_over[0]}"
            )
        return GenerationResult(
            metrics=self.attempts.metrics,
            unavailable=self.attempts.unavailable,
            warnings=self.warnings,
            protocol=self._protocol(),
            generation=dict(self.generated.facts),
            provenance=run_facts(),
            per_picture={
                **{name: list(getattr(self.generated, name)) for name in COLUMNS},
                **self.attempts.per_picture,
            },
        )

    def _wants(self, metric: str) -> bool:
        return metric in self.options.metrics

    def _distances(self, sets: ComparedSets, labels: dict[str, str]) -> None:
        """The Fréchet and the kernel distance, where their metrics, the keys of `labels`, are wanted."""
        (frechet, frechet_label), (kernel, kernel_label) = labels.items()
        if self._wants(frechet):
            self.attempts.run([frechet_label], lambda: {frechet_label: sets.frechet()})
            if self.attempts.metrics[frechet_label] is not None and (warning := sets.too_few()):
                self.warnings.append(warning)
        if self._wants(kernel):
            self.attempts.run([kernel_label], lambda: self._kernel(sets, kernel_label))

    def _kernel(self, sets: ComparedSets, label: str) -> Values:
        self.kernel[label] = sets.kernel(self.options.kernel, self.options.seed)
        return {label: self.kernel[label].mean}

    @cached_property
    def _sentences(self) -> Tensor:
        """(S, D) unit rows of the different sentences. Raises ValueError without a joint space."""
        _ = self.judge.dim
        return self.judge.encode_texts(self._prompts)

    @cached_property
    def _prompts(self) -> list[str]:
        return self.options.clip_score.prompts(self.generated.different_sentences)

    def _clip_scores(self) -> Values:
        sentences = self._sentences[self.generated.sentence_rows]
        weight = self.options.clip_score.weight
        return {"CLIPScore": clip_score(self.by_judge.generated.unit_rows, sentences, weight)}

    def _r_precision(self) -> Values:
        rows, seed = self.generated.sentence_rows, self.options.seed
        pictures = self.by_judge.generated.unit_rows
        return {"R-precision": r_precision(pictures, self._sentences, rows, self.options.r_precision, seed)}

    def _recalls(self) -> Values:
        """How often a picture's sentence is the nearest of all, or among the five nearest."""
        if len(self._prompts) < 2:
            raise ValueError("all pictures have one sentence: generate pictures of several")
        pictures = self.by_judge.generated.unit_rows
        # The pictures are the queries here, as texts are there, and several may have one sentence.
        recalled = text_to_image(self._sentences, pictures, self.generated.sentence_rows)
        return {"R@1": 100 * recalled.recall_at_1, "R@5": 100 * recalled.recall_at_5}

    def _diversity(self) -> None:
        sets, groups = self.by_encoder, self.generated.sentence_rows
        self.attempts.run(["diversity"], lambda: {"diversity": mean_distance(sets.generated.unit_rows)})
        self.attempts.run([WITHIN], lambda: {WITHIN: mean_distance_within(sets.generated.unit_rows, groups)})
        self.attempts.run([OF_REFERENCES], lambda: {OF_REFERENCES: mean_distance(sets.references.unit_rows)})

    def _objects(self, judge: CaptionJudge) -> None:
        def measure() -> Values:
            judgments = judge.judge(self.generated.paths, self.generated.sentences)
            self.warnings.extend(judgments.warnings)
            return judgments.values

        self.attempts.run(judge.names, measure)

    def _protocol(self) -> PictureProtocol:
        scorer, generated = self.scorer, self.generated
        counts = generated.sentence_rows.bincount()
        ran = self.attempts.metrics
        inception = any(ran.get(name) is not None for name in ("FID", "KID"))
        caption_judge = scorer.caption_judge if self._wants("objects") else None
        return PictureProtocol(
            folder=str(generated.folder),
            pictures=len(generated),
            sentences=len(generated.different_sentences),
            pictures_per_sentence=(int(counts.min()), int(counts.max())),
            sentences_from=generated.sentences_from,
            sentences_hash=hashlib.sha256("\n".join(generated.sentences).encode()).hexdigest(),
            picture_size=scorer.side,
            reference=scorer.references.facts,
            encoder=scorer.encoder.description,
            inception=self.by_inception.network.description if inception else None,
            kernel=self.kernel,
            judge=self._judge_facts() if self._wants("CLIPScore") or self._wants("R-precision") else None,
            caption_judge=None if caption_judge is None else caption_judge.description,
            seed=self.options.seed,
        )

    def _judge_facts(self) -> JudgeFacts:
        cut, known = None, self.generated.encoders
        if any(self.attempts.metrics.get(name) is not None for name in ("CLIPScore", "R-precision", "R@1")):
            cut = self.judge.cut_texts(self._prompts)
        if cut:
            self.warnings.append(f"{cut:,} sentences are longer than the encoder reads, and are read up to there")
        return JudgeFacts(
            encoder=self.judge.description,
            prefix=self.options.clip_score.prefix,
            weight=self.options.clip_score.weight,
            candidates=self.options.r_precision.candidates,
            cut_sentences=cut,
            read_by_generator=any(is_same_encoder(self.judge.description, e) for e in known) if known else None,
        )
