"""Rows of finished comparisons beside new ones.

Their captions, which `kept_predictions` keeps, are scored again against the references that are here. So every two
rows, new and published, can be tested image by image.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.files import write_whole
from comparison.kept_predictions import metrics_name, predictions_name
from comparison.runs import MethodRuns
from embedding_space.store import EmbeddingStore
from evaluation.captions.evaluation_folder import EvaluationFolder
from evaluation.captions.prediction_files import read_predictions
from evaluation.captions.result import EvaluationResult
from evaluation.captions.score_split import split_scorer
from evaluation.captions.scoring_options import Scoring, split_references
from evaluation.reports.comparison_report import read_comparison, results_file
from evaluation.reports.method_result import MethodResult
from evaluation.reports.tries import TryResult
from training.run_folder import METRICS

TOLERANCE = 1e-4  # of CIDEr times 100, for sums in another order


@dataclass(frozen=True)
class PublishedRows:
    """Rows of finished comparisons, with evaluation folders here. tries: what chose their settings.

    notes: a sentence for each comparison.
    """

    runs: list[MethodResult] = field(default_factory=list)
    tries: list[TryResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(run.method for run in self.runs))


def published_rows(files: Sequence[str], method_runs: MethodRuns, seeds: Sequence[int]) -> PublishedRows:
    """The rows of the comparisons in `files`, but for the methods that are trained anew.

    Args:
        files: `results.json` of comparisons, or their folders. A comparison's captions are in the folder
            `predictions/<its name>` beside the file, or in its evaluations' folders.
        method_runs: what is trained anew: the store, split, decodings and scoring are those of the published rows, too.
        seeds: the seeds that every row must have.

    Raises:
        FileNotFoundError: a file or its captions are not there.
        ValueError: a comparison is of another split, lacks a seed or decoding, has a method of another file, or its
            captions have another CIDEr here.
    """
    if not files:
        return PublishedRows()
    runs: list[MethodResult] = []
    tries: list[TryResult] = []
    notes, named_in = [], {}
    anew = [method.name for method in method_runs.methods]
    store = EmbeddingStore(method_runs.store)
    for name in files:
        path = results_file(name)
        try:
            result = read_comparison(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"published={name}: there is no such comparison") from error
        if result.split != method_runs.split:
            raise ValueError(f"published={name} is of split={result.split}, this comparison of {method_runs.split}")
        rows = _rows(name, result.runs, anew, seeds, method_runs.decodings)
        for method in (methods := list(dict.fromkeys(row.method for row in rows))):
            if (other := named_in.setdefault(method, name)) != name:
                raise ValueError(f"published: {method} is in {other} and in {name}; leave one of these files out")
        captions = KeptCaptions(path, str(result.config.get("name")))
        runs += [_scored(row, captions, method_runs, store) for row in rows]
        tries += [entry for entry in result.tries if entry.method in methods]
        notes.append(_note(path, result.facts, methods, result.store == store.hash))
    return PublishedRows(runs, tries, notes)


def _rows(
    name: str, runs: Sequence[MethodResult], anew: Collection[str], seeds: Sequence[int], decodings: Collection[str]
) -> list[MethodResult]:
    """The rows of these seeds and decodings, in the file's order. Raises ValueError where a method lacks one."""
    rows = [run for run in runs if run.method not in anew and run.seed in seeds and run.decoding_name in decodings]
    if not rows:
        raise ValueError(f"published={name} has no other methods with seeds={list(seeds)} and {list(decodings)}")
    having: dict[str, set[tuple[int, str]]] = {}
    for row in rows:
        having.setdefault(row.method, set()).add((row.seed, row.decoding_name))
    for method, of_method in having.items():
        for seed in seeds:
            for decoding in decodings:
                if (seed, decoding) not in of_method:
                    raise ValueError(
                        f"published={name} has no captions of {method} with seed {seed} and {decoding}: leave that out "
                        f"of seeds={list(seeds)} or decodings={list(decodings)}, or train it anew, with methods="
                    )
    return rows


@dataclass(frozen=True)
class KeptCaptions:
    """Where a comparison's captions are. file: its results. name: of its run folders."""

    file: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.file.parent / "predictions" / self.name

    def predictions(self, row: MethodResult) -> dict[str, str]:
        """{image_id: caption}. Raises FileNotFoundError."""
        kept = self.folder / f"{predictions_name(row)}.gz"
        evaluated = Path(str(row.evaluation)) / "predictions.json"
        for path in (kept, evaluated):
            if path.is_file():
                return read_predictions(path)
        raise FileNotFoundError(
            f"published={self.file}: the captions of {row.method}, seed {row.seed}, {row.decoding_name}, are neither "
            f"in {kept} nor in {evaluated}: a comparison keeps them with predictions_dir=..."
        )

    def metrics(self, row: MethodResult) -> str | None:
        """The metrics of the captioner's training, as far as they were kept."""
        kept = self.folder / f"{metrics_name(row)}.gz"
        return gzip.decompress(kept.read_bytes()).decode() if kept.is_file() else None


def _scored(row: MethodResult, captions: KeptCaptions, method_runs: MethodRuns, store: EmbeddingStore) -> MethodResult:
    """The row with an evaluation folder here, which holds its captions and their CIDEr image by image."""
    predictions = captions.predictions(row)
    references = split_references(store, method_runs.split)
    if row.result.caption_from == "texts":
        references = references.without_first()
    scoring = Scoring(("CIDEr",), method_runs.scoring.cache_dir)
    inputs = {
        name: _content_hash(of) for name, of in (("predictions", predictions), ("references", references.captions))
    }
    ending = f"published_{row.method}_seed{row.seed}_{method_runs.split}_{row.decoding_name}"
    folder = EvaluationFolder(Path(method_runs.runs_dir) / f"evaluation/{method_runs.name}_{ending}", inputs, "reuse")
    scorer = split_scorer(store, method_runs.split, scoring, references)
    result = scorer.reuse(folder)
    if result is None:
        try:
            result = replace(scorer.score(predictions, folder), inputs=inputs)
        except ValueError as error:
            raise ValueError(f"published={captions.file}, {row.method}: {error}") from error
        write_whole(folder.path / "references.json", json.dumps(references.captions, ensure_ascii=False, indent=0))
        if (metrics := captions.metrics(row)) is not None:
            write_whole(folder.path / METRICS, metrics)
        folder.write(result)
    _check_same(row, result, captions.file)
    return replace(row, evaluation=str(folder.path), published=str(captions.file))


def _check_same(row: MethodResult, result: EvaluationResult, file: Path) -> None:
    """Refuse captions that are not those of the published row, and references that are not those it was scored with."""
    if (cider := result.metrics.get("CIDEr")) is None:
        raise ValueError(f"published={file}: CIDEr cannot run here ({result.unavailable.get('CIDEr')})")
    if row.cider is None or not math.isclose(cider, row.cider, abs_tol=TOLERANCE, rel_tol=0):
        raise ValueError(
            f"published={file}: the captions of {row.method}, seed {row.seed}, {row.decoding_name}, have a CIDEr of "
            f"{cider:.3f} against the references here, and {row.cider or math.nan:.3f} there: the files are not of one "
            "comparison, or the data set here is another"
        )


def _note(path: Path, facts: dict, methods: Sequence[str], same_store: bool) -> str:
    when = ", ".join(str(facts[name]) for name in ("date", "commit") if name in facts)
    embeddings = "" if same_store else " They read embeddings of another hash: another machine rounds in another way."
    return (
        f"Published before, in {path} ({when or 'no date'}), and scored again here: {', '.join(methods)}. Their "
        f"figures are those of then.{embeddings}"
    )


def _content_hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
