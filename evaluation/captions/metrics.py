"""Caption metrics: BLEU, METEOR, ROUGE-L, CIDEr and SPICE, with the values of pycocoevalcap's `COCOEvalCap`; nouns;
those of captions of sounds, SPIDEr and FENSE; and, of images that have classes, whether these are named.

Scores are kept in pycocoevalcap's own units: 0 to 1, and 0 to 10 for CIDEr. Papers print them times 100, which is what
`CaptionScores.percent()` gives. The "CIDEr" of pycocoevalcap, and of nearly every captioning paper, is the CIDEr-D of
Vedantam et al. (2015, arXiv:1411.5726, section 6): clipped counts and a Gaussian penalty on length. Its n-gram weights
come from the references of the images scored, so it is comparable only between runs on the same images.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evaluation.captions.class_words import class_accuracy
from evaluation.captions.fense import fense_scores
from evaluation.captions.java import JavaError
from evaluation.captions.meteor import MeteorProcess, give_back_meteor, take_meteor
from evaluation.captions.nouns import noun_scores
from evaluation.captions.ptb_tokenizer import ptb_tokenize, tokenize_references
from evaluation.captions.spice import spice_scores

logger = logging.getLogger(__name__)

# What one metric gives: {name: (corpus value, a value for each image)}.
Values = dict[str, tuple[float, Sequence[float] | np.ndarray]]
Tokens = Mapping[str, str]
References = Mapping[str, Sequence[str]]
Runner = Callable[[References, Tokens], Values]

NAMES = {
    "BLEU": ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"),
    "METEOR": ("METEOR",),
    "ROUGE-L": ("ROUGE-L",),
    "CIDEr": ("CIDEr",),
    "SPICE": ("SPICE",),
    "nouns": ("noun precision", "noun recall"),
    "SPIDEr": ("SPIDEr",),
    "FENSE": ("FENSE", "SBERT", "FER"),
    "classes": ("class accuracy",),
}
METRICS = tuple(NAMES)
OF_PICTURES = ("BLEU", "METEOR", "ROUGE-L", "CIDEr", "SPICE", "nouns")  # the usual ones, and the default
SPIDER_PARTS = ("CIDEr", "SPICE")
SAME_AT_MOST = 0.25  # one caption on a greater share of the images is worth a warning


@dataclass(frozen=True)
class CaptionScores:
    """Scores of one set of captions, in pycocoevalcap's units (0 to 1; CIDEr 0 to 10).

    corpus: {name: value}, None for a metric that could not run; BLEU gives BLEU-1 to BLEU-4.
    per_image: {name: float64 array (N,)}, rows as in `image_ids`; metrics that could not run are absent. The corpus
        value is their mean, but for BLEU and METEOR, which pool their statistics.
    unavailable: {name: why it is None}, one sentence each.
    warnings: what makes the metrics suspicious (empty captions, a CIDEr near zero), one sentence each, to be shown.
    """

    corpus: dict[str, float | None]
    per_image: dict[str, np.ndarray]
    image_ids: list[str]
    unavailable: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def percent(self) -> dict[str, float | None]:
        """The corpus values times 100, as papers print them ("CIDEr 93.3")."""
        return {name: None if value is None else 100 * value for name, value in self.corpus.items()}


class CaptionScorer:
    """Scores any number of caption sets against the same references; holds a Java process, so give it back.

        with CaptionScorer(references) as scorer:
            scores = scorer.score(predictions)

    The references are tokenized once (and kept on disk under `cache_dir`, if given), and METEOR loads its tables, the
    slowest part of all, once in a Python process. A metric that cannot run is None with its reason in the scores; it
    stops no other.

    references: {image_id: [captions]}; metrics: names from `METRICS`; classes: for the metric of that name, the words
    of each (see `class_accuracy`). Raises ValueError for an unknown metric, no references, or an image without any.
    """

    def __init__(
        self,
        references: Mapping[str, Sequence[str]],
        metrics: Iterable[str] = OF_PICTURES,
        cache_dir: str | Path | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.metrics = tuple(metrics)
        unknown = [name for name in self.metrics if name not in NAMES]
        if unknown or not self.metrics:
            raise ValueError(f"unknown metrics {unknown}: choose from {', '.join(METRICS)}")
        self.references = {str(image_id): captions for image_id, captions in references.items()}
        if not self.references:
            raise ValueError("there are no references to score against")
        for image_id, captions in self.references.items():
            if isinstance(captions, str) or not captions or not all(isinstance(c, str) for c in captions):
                raise ValueError(f"the references of image {image_id} must be a list of captions, got {captions!r:.80}")
        self.cache_dir, self.classes = cache_dir, classes
        self._tokenized: dict[str, list[str]] | None = None
        self._meteor: MeteorProcess | None = None
        if "METEOR" in self.metrics:
            self._start_meteor()

    def score(self, predictions: Mapping[str, str], allow_missing: bool = False) -> CaptionScores:
        """Scores of one caption an image, {image_id: caption}.

        `allow_missing` scores the images that were predicted although the references name more of them. Raises
        ValueError when the image ids of the two sides differ otherwise, or a caption is not a string.
        """
        started = time.perf_counter()
        predictions = {str(image_id): caption for image_id, caption in predictions.items()}
        image_ids = _matching_ids(predictions, self.references, allow_missing)
        corpus: dict[str, float | None] = {name: None for metric in self.metrics for name in NAMES[metric]}
        per_image: dict[str, np.ndarray] = {}
        unavailable: dict[str, str] = {}

        try:
            if self._tokenized is None:
                self._tokenized = tokenize_references(self.references, self.cache_dir)
            hypotheses = dict(zip(image_ids, ptb_tokenize([predictions[i] for i in image_ids]), strict=True))
        except (JavaError, OSError) as error:
            reason = f"captions could not be tokenized: {error}"
            logger.warning("No caption metric could run: %s", reason)
            unavailable = dict.fromkeys(corpus, reason)
            return CaptionScores(corpus, {}, image_ids, unavailable, [], time.perf_counter() - started)

        references = {image_id: self._tokenized[image_id] for image_id in image_ids}
        captions = {image_id: predictions[image_id] for image_id in image_ids}
        for metric, values in self._run(references, hypotheses, captions).items():
            if isinstance(values, Exception):
                reason = (
                    str(values)
                    if isinstance(values, (JavaError, ImportError))
                    else f"{type(values).__name__}: {values}"
                )
                logger.warning("%s could not run: %s", metric, reason)
                unavailable |= dict.fromkeys(NAMES[metric], reason)
                continue
            for name, (value, image_values) in values.items():
                corpus[name] = float(value)
                per_image[name] = np.asarray(image_values, dtype=np.float64)

        warnings = _warnings(hypotheses, corpus)
        if left := [image_id for image_id in self.references if image_id not in predictions]:
            warnings.append(f"{named(left)} with references but without a prediction left out")
        return CaptionScores(corpus, per_image, image_ids, unavailable, warnings, time.perf_counter() - started)

    def close(self) -> None:
        """Give the METEOR process back, warm for the next scorer."""
        if self._meteor is not None:
            give_back_meteor(self._meteor)
            self._meteor = None

    def __enter__(self) -> CaptionScorer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start_meteor(self) -> None:
        try:
            self._meteor = take_meteor()
        except (JavaError, OSError):  # score() tries again, and reports it
            self._meteor = None

    def _meteor_scores(self, references: References, hypotheses: Tokens) -> Values:
        if self._meteor is None:
            self._meteor = take_meteor()
        try:
            return {"METEOR": self._meteor.score(references, hypotheses)}
        except JavaError:
            self.close()
            raise

    def _classes(self, captions: Mapping[str, str]) -> Values:
        values = class_accuracy(self.references, captions, self.classes)
        return {"class accuracy": (float(values.mean()), values)}

    def _run(
        self, references: References, hypotheses: Tokens, captions: Mapping[str, str]
    ) -> dict[str, Values | Exception]:
        """Every metric's values, or the exception that stopped it. Java works beside the metrics in Python.

        Args:
            captions: as they were written.
        """
        runners: dict[str, Runner] = {
            "BLEU": _bleu,
            "METEOR": self._meteor_scores,
            "ROUGE-L": _rouge_l,
            "CIDEr": _cider,
            "SPICE": lambda refs, hyps: {"SPICE": spice_scores(refs, hyps, self.cache_dir)},
            "nouns": _nouns,
            "FENSE": lambda *_: dict(fense_scores(self.references, captions)),
            "classes": lambda *_: self._classes(captions),
        }
        parts = [metric for metric in SPIDER_PARTS if "SPIDEr" in self.metrics and metric not in self.metrics]
        needed = [metric for metric in (*self.metrics, *parts) if metric in runners]
        in_java = [metric for metric in needed if metric in ("METEOR", "SPICE")]
        in_python = [metric for metric in needed if metric not in in_java]
        with ThreadPoolExecutor(max_workers=2) as pool:
            futures = {metric: pool.submit(_attempt, runners[metric], references, hypotheses) for metric in in_java}
            outcome = {metric: _attempt(runners[metric], references, hypotheses) for metric in in_python}
            outcome |= {metric: future.result() for metric, future in futures.items()}
        if "SPIDEr" in self.metrics:
            outcome["SPIDEr"] = _spider(*(outcome[part] for part in SPIDER_PARTS))
        return {metric: outcome[metric] for metric in self.metrics}


def score_captions(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    metrics: Iterable[str] = OF_PICTURES,
    cache_dir: str | Path | None = None,
    allow_missing: bool = False,
    classes: Sequence[str] = (),
) -> CaptionScores:
    """Score {image_id: caption} against {image_id: [captions]}: `CaptionScorer` for a single set of captions."""
    with CaptionScorer(references, metrics, cache_dir, classes) as scorer:
        return scorer.score(predictions, allow_missing)


def _attempt(run: Runner, references: References, hypotheses: Tokens) -> Values | Exception:
    try:
        return run(references, hypotheses)
    except Exception as error:  # isolation: whatever stops one metric, in whatever library, the others are scored
        return error


def _bleu(references: References, hypotheses: Tokens) -> Values:
    from pycocoevalcap.bleu.bleu import Bleu

    corpus, per_image = Bleu(4).compute_score(references, _as_lists(hypotheses), verbose=0)
    return dict(zip(NAMES["BLEU"], zip(corpus, per_image, strict=True), strict=True))


def _rouge_l(references: References, hypotheses: Tokens) -> Values:
    from pycocoevalcap.rouge.rouge import Rouge

    corpus, per_image = Rouge().compute_score(references, _as_lists(hypotheses))
    return {"ROUGE-L": (float(corpus), per_image)}


def _cider(references: References, hypotheses: Tokens) -> Values:
    from pycocoevalcap.cider.cider import Cider

    corpus, per_image = Cider().compute_score(references, _as_lists(hypotheses))
    return {"CIDEr": (float(corpus), per_image)}


def _nouns(references: References, hypotheses: Tokens) -> Values:
    values = noun_scores(references, hypotheses)
    return dict(zip(NAMES["nouns"], ((float(scores.mean()), scores) for scores in values), strict=True))


def _spider(*parts: Values | Exception) -> Values | Exception:
    """The mean of CIDEr-D and SPICE (arXiv 1612.00370, section 4), where both could run."""
    both: Values = {}
    for values in parts:
        if isinstance(values, Exception):
            return values
        both |= values
    means, each = zip(*both.values(), strict=True)
    return {"SPIDEr": (sum(means) / 2, np.mean(each, axis=0))}


def _as_lists(hypotheses: Tokens) -> dict[str, list[str]]:
    return {image_id: [caption] for image_id, caption in hypotheses.items()}


def _matching_ids(predictions: Mapping[str, str], references: References, allow_missing: bool) -> list[str]:
    """Image ids to score, in the references' order."""
    for image_id, caption in predictions.items():
        if not isinstance(caption, str):
            raise ValueError(f"the caption of image {image_id} must be a string, got {caption!r:.80}")
    unpredicted = [image_id for image_id in references if image_id not in predictions]
    unknown = [image_id for image_id in predictions if image_id not in references]
    complaints = []
    if unknown:
        complaints.append(f"{named(unknown, 'predicted image')} without references")
    if unpredicted and not allow_missing:
        complaints.append(f"{named(unpredicted)} with references but without a prediction")
    if complaints:
        hint = "" if unknown else ", or allow missing predictions (allow_missing) to score the others alone"
        if predictions and len(unknown) == len(predictions):
            hint = ", and name them alike, by their ids or by their file names"
        raise ValueError(f"predictions and references differ: {'; '.join(complaints)}: use the same images{hint}")
    if not predictions:
        raise ValueError("there are no predictions to score")
    return [image_id for image_id in references if image_id in predictions]


def named(image_ids: Sequence[str], noun: str = "image") -> str:
    """`3 images (a, b, c)`, the first ten by name."""
    some = ", ".join(image_ids[:10]) + (", …" if len(image_ids) > 10 else "")
    return f"{len(image_ids):,} {noun}{'' if len(image_ids) == 1 else 's'} ({some})"


def _warnings(hypotheses: Tokens, corpus: Mapping[str, float | None]) -> list[str]:
    warnings = []
    empty = sum(not caption for caption in hypotheses.values())
    if empty:
        warnings.append(f"{empty} of {len(hypotheses)} captions are empty or hold no word")
    [(commonest, count)] = Counter(hypotheses.values()).most_common(1)
    if count == len(hypotheses) > 1:
        warnings.append(f"all {count} captions are the same")
    elif commonest and len(hypotheses) >= 20 and count > SAME_AT_MOST * len(hypotheses):
        warnings.append(f"{count} of {len(hypotheses)} captions are the same: {commonest!r}")
    cider = corpus.get("CIDEr")
    if len(hypotheses) == 1 and cider is not None:
        warnings.append("CIDEr of a single image is 0 by construction: it weighs n-grams by how few images hold them")
    elif cider is not None and cider < 0.01:
        warnings.append(f"CIDEr is nearly zero ({100 * cider:.2f} of 100): are the references those of these images?")
    return warnings
