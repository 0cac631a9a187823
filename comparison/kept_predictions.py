"""A comparison's predictions and training curves in a folder of their own, for others to score again.

The files are small and compressed, and the same bytes for the same captions, so that they can be kept beside results.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.files import whole_file
from evaluation.reports.method_result import MethodResult
from training.run_folder import METRICS


def keep_predictions(folder: Path, runs: Sequence[MethodResult]) -> None:
    """Copy each run's predictions, what they were scored against, and the metrics of its training.

    `folder` then holds `<method>_seed<n>_<decoding>.json.gz`, one for each run, `references.json.gz`, and
    `<method>_seed<n>_metrics.jsonl.gz` for each captioner that was trained; methods that share a training have one.
    `eval_coco.py predictions=... references=...` reads them.

    Raises:
        FileNotFoundError: an evaluation or a training is not there.
    """
    for name, source in dict(_files(runs)).items():
        with whole_file(folder / f"{name}.gz") as temporary:
            temporary.write_bytes(gzip.compress(source.read_bytes(), mtime=0))


def predictions_name(run: MethodResult) -> str:
    """The name of a run's predictions in the folder, before it is compressed."""
    return f"{_row(run)}_{run.decoding_name}{_tested_on(run)}{_share(run)}.json"


def metrics_name(run: MethodResult) -> str:
    """The name of the metrics of a run's training in the folder, before they are compressed."""
    return f"{_row(run)}{_share(run)}_metrics.jsonl"


def _files(runs: Sequence[MethodResult]) -> Iterator[tuple[str, Path]]:
    """(name, file): of runs in several tables, the first's name."""
    methods, kept = {run.method for run in runs}, set()
    for run in runs:
        if run.evaluation in kept:
            continue
        kept.add(run.evaluation)
        evaluation = Path(str(run.evaluation))
        yield predictions_name(run), evaluation / "predictions.json"
        # An image's first caption is read there, and is no reference.
        first = "_without_first" if run.result.caption_from == "texts" else ""
        yield f"references{first}{_tested_on(run)}.json", evaluation / "references.json"
        if run.published:  # trained elsewhere: its metrics are beside its captions, if they were kept
            if (evaluation / METRICS).is_file():
                yield metrics_name(run), evaluation / METRICS
        elif run.trained_as == run.method or run.trained_as not in methods:
            yield metrics_name(run), Path(str(run.result.checkpoint)) / METRICS


def _row(run: MethodResult) -> str:
    return f"{run.method}_seed{run.seed}"


def _tested_on(run: MethodResult) -> str:
    return f"_on_{run.tested_on}" if run.tested_on else ""


def _share(run: MethodResult) -> str:
    """`_5pct`, `_2000captions` or `_5pct_pairs`: the part of the captions or pairs that it was trained on."""
    share = run.share or run.pairs_share
    if share is None:
        return ""
    count, _, percent = share.replace(",", "").partition(" ")
    kind = f"{'pct' if percent else ''}_pairs" if run.pairs_share else "pct" if percent else "captions"
    return f"_{count}{kind}"
