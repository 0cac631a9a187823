"""Rows of finished comparisons beside new ones.

Their captions, which `kept_predictions` keeps, are scored again against the references that are here. So every two
rows, new and published, can be tested image by image.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from common.files import write_whole
from comparison.kept_predictions import metrics_name, predictions_name
from comparison.runs import MethodRuns
from embedding_space.store import EmbeddingStore
from evaluation.captions.evaluation_folder import EvaluationFolder
from evaluation.captions.prediction_files import read_predictions
from evaluation.captions.result import EvaluationResult
from evaluation.captions.score_file import content_hash
from evaluation.captions.score_split import split_scorer
from evaluation.captions.scoring_options import Scoring, split_references
from evaluation.reports.comparison_report import read_comparison, results_file
from evaluation.reports.comparison_result import ComparisonResult
from evaluation.reports.method_result import MethodResult
from evaluation.reports.tries import TryResult
from training.run_folder import METRICS

Key = tuple[str, int, str]  # of a row: method, seed, decoding
TOLERANCE = 1e-4  # of CIDEr times 100, for sums in another order


@dataclass(frozen=True)
class PublishedRows:
    """Rows of finished comparisons, with evaluation folders here.

    tries: what chose their settings. notes: a sentence for each comparison.
    """

    runs: list[MethodResult] = field(default_factory=list)
    tries: list[TryResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(run.method for run in self.runs))


@dataclass(frozen=True)
class FinishedComparison:
    """A finished comparison, and which of its rows are taken. name: as the option `published` has it."""

    name: str
    result: ComparisonResult
    rows: dict[Key, MethodResult]

    @property
    def file(self) -> Path:
        return results_file(self.name)

    @property
    def kept(self) -> Path:
        """The folder of its captions."""
        return self.file.parent / "predictions" / str(self.result.config.get("name"))

    @property
    def tries(self) -> list[TryResult]:
        methods = {row.method for row in self.rows.values()}
        return [entry for entry in self.result.tries if entry.method in methods]

    def predictions(self, row: MethodResult) -> dict[str, str]:
        """{image_id: caption}. Raises FileNotFoundError."""
        kept = self.kept / f"{predictions_name(row)}.gz"
        evaluated = Path(str(row.evaluation)) / "predictions.json"
        for path in (kept, evaluated):
            if path.is_file():
                return read_predictions(path)
        raise FileNotFoundError(
            f"published={self.name}: the captions of {_named(_key(row))} are neither in {kept} nor in {evaluated}: a "
            "comparison keeps them with predictions_dir=..."
        )

    def metrics(self, row: MethodResult) -> str | None:
        """The metrics of the captioner's training, as far as they were kept."""
        kept = self.kept / f"{metrics_name(row)}.gz"
        return gzip.decompress(kept.read_bytes()).decode() if kept.is_file() else None

    def note(self, store: EmbeddingStore) -> str:
        seeds: dict[str, list[int]] = {}
        for method, seed, _ in self.rows:
            if seed not in seeds.setdefault(method, []):
                seeds[method].append(seed)
        names = ", ".join(f"{method} ({' '.join(map(str, of))})" for method, of in seeds.items())
        when = ", ".join(str(self.result.facts[name]) for name in ("date", "commit") if name in self.result.facts)
        other = (
            "" if self.result.store == store.hash else " Their embeddings' hash is another, as of another machine's."
        )
        return (
            f"Published before, in {self.file} ({when or 'no date'}), and scored again here, with the seeds: {names}. "
            f"Their figures are those of then.{other}"
        )


def published_rows(files: Sequence[str], method_runs: MethodRuns, seeds: Sequence[int]) -> PublishedRows:
    """The rows of the comparisons in `files`, but for the methods that are trained anew.

    Args:
        files: `results.json` of comparisons, or their folders. A comparison's captions are in the folder
            `predictions/<its name>` beside the file, or in its evaluations' folders. A method's seeds may be in several
            files.
        method_runs: what is trained anew: the store, split, decodings and scoring are those of the published rows, too.
        seeds: the seeds that every row must have.

    Raises:
        FileNotFoundError: a file or its captions are not there.
        ValueError: a comparison is of another split, has no rows of these seeds and decodings, or its captions have
            another CIDEr here; a row is in two files; a method lacks a seed or decoding.
    """
    if not files:
        return PublishedRows()
    decodings = list(method_runs.decodings)
    comparisons = [_read(name, method_runs, seeds) for name in files]
    _check_complete(comparisons, seeds, decodings)
    store = EmbeddingStore(method_runs.store)
    runs = [_scored(row, each, method_runs, store) for each in comparisons for row in each.rows.values()]
    runs.sort(key=lambda run: (seeds.index(run.seed), decodings.index(run.decoding_name)))
    tries = [entry for each in comparisons for entry in each.tries]
    distinct = [entry for n, entry in enumerate(tries) if entry not in tries[:n]]
    return PublishedRows(runs, distinct, [each.note(store) for each in comparisons])


def _read(name: str, method_runs: MethodRuns, seeds: Sequence[int]) -> FinishedComparison:
    result = read_comparison(name, option="published")
    if result.split != method_runs.split:
        raise ValueError(f"published={name} is of split={result.split}, this comparison of {method_runs.split}")
    anew = {method.name for method in method_runs.methods}
    wanted = [run for run in result.runs if run.seed in seeds and run.decoding_name in method_runs.decodings]
    rows = {_key(run): run for run in wanted if run.method not in anew}
    if not rows:
        decodings = list(method_runs.decodings)
        raise ValueError(f"published={name} has no other methods with seeds={list(seeds)} and decodings={decodings}")
    return FinishedComparison(name, result, rows)


def _check_complete(comparisons: Sequence[FinishedComparison], seeds: Sequence[int], decodings: Sequence[str]) -> None:
    """Refuse a row that two comparisons have, and methods that lack one."""
    taken: dict[Key, str] = {}
    for each in comparisons:
        for key in each.rows:
            if (other := taken.setdefault(key, each.name)) != each.name:
                raise ValueError(f"published: {_named(key)} is in {other} and in {each.name}; leave one of them out")
    for key in product(dict.fromkeys(method for method, _, _ in taken), seeds, decodings):
        if key not in taken:
            raise ValueError(
                f"published={[each.name for each in comparisons]} has no {_named(key)}: leave that out of "
                f"seeds={list(seeds)} or decodings={list(decodings)}, or train the method anew, with methods="
            )


def _scored(
    row: MethodResult, comparison: FinishedComparison, method_runs: MethodRuns, store: EmbeddingStore
) -> MethodResult:
    """The row with an evaluation folder here, which holds its captions and their CIDEr image by image."""
    predictions = comparison.predictions(row)
    references = split_references(store, method_runs.split)
    if row.result.caption_from == "texts":
        references = references.without_first()
    scorer = split_scorer(store, method_runs.split, Scoring(("CIDEr",), method_runs.scoring.cache_dir), references)
    inputs = {"predictions": content_hash(predictions), "references": content_hash(references.captions)}
    ending = f"published_{row.method}_seed{row.seed}_{method_runs.split}_{row.decoding_name}"
    folder = EvaluationFolder(Path(method_runs.runs_dir) / f"evaluation/{method_runs.name}_{ending}", inputs, "reuse")
    result = scorer.reuse(folder)
    if result is None:
        try:
            result = replace(scorer.score(predictions, folder), inputs=inputs)
        except ValueError as error:
            raise ValueError(f"published={comparison.name}, {_named(_key(row))}: {error}") from error
        write_whole(folder.path / "references.json", json.dumps(references.captions, ensure_ascii=False, indent=0))
        if (metrics := comparison.metrics(row)) is not None:
            write_whole(folder.path / METRICS, metrics)
        folder.write(result)
    _check_same(row, result, comparison.name)
    return replace(row, evaluation=str(folder.path), published=row.published or str(comparison.file))


def _check_same(row: MethodResult, result: EvaluationResult, name: str) -> None:
    """Refuse captions that are not those of the published row, and references that are not those it was scored with."""
    if (cider := result.metrics.get("CIDEr")) is None:
        raise ValueError(f"published={name}: CIDEr cannot run here ({result.unavailable.get('CIDEr')})")
    if row.cider is None or not math.isclose(cider, row.cider, abs_tol=TOLERANCE, rel_tol=0):
        raise ValueError(
            f"published={name}: the captions of {_named(_key(row))} have a CIDEr of {cider:.3f} against the references "
            f"here, and {row.cider or math.nan:.3f} there: the files are not of one comparison, or the data set here "
            "is another"
        )


def _key(run: MethodResult) -> Key:
    return run.method, run.seed, run.decoding_name


def _named(key: Key) -> str:
    return f"{key[0]} with seed {key[1]} and {key[2]}"
