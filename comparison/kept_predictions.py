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


def _files(runs: Sequence[MethodResult]) -> Iterator[tuple[str, Path]]:
    """(name, file): of runs in several tables, the first's name."""
    methods, kept = {run.method for run in runs}, set()
    for run in runs:
        if run.evaluation in kept:
            continue
        kept.add(run.evaluation)
        evaluation, row = Path(str(run.evaluation)), f"{run.method}_seed{run.seed}"
        on = f"_on_{run.tested_on}" if run.tested_on else ""
        yield f"{row}_{run.decoding_name}{on}{_share(run)}.json", evaluation / "predictions.json"
        # An image's first caption is read there, and is no reference.
        first = "_without_first" if run.result.caption_from == "texts" else ""
        yield f"references{first}{on}.json", evaluation / "references.json"
        if run.trained_as == run.method or run.trained_as not in methods:
            yield f"{row}{_share(run)}_metrics.jsonl", Path(str(run.result.checkpoint)) / METRICS


def _share(run: MethodResult) -> str:
    """`_5pct`, `_2000captions` or `_5pct_pairs`: the part of the captions or pairs that it was trained on."""
    share = run.share or run.pairs_share
    if share is None:
        return ""
    count, _, percent = share.replace(",", "").partition(" ")
    kind = f"{'pct' if percent else ''}_pairs" if run.pairs_share else "pct" if percent else "captions"
    return f"_{count}{kind}"
