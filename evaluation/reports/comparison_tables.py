"""A comparison's runs in tables: CIDEr with its intervals and paired tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from embedding_space.media import Medium
from evaluation.reports.comparison_result import CiderInterval
from evaluation.reports.method_result import MethodResult
from evaluation.reports.pairwise import PairTest, pairwise_tests
from evaluation.reports.statistics import PairedComparison, bootstrap_interval, paired_comparison, read_per_image
from evaluation.table import Column, Table, Value

ORACLES = ("oracle_pairs", "oracle_text")  # upper bounds, which do not compete for best marks
FACTS = ("class", "parameters trained", "captions/s", "memory MB")  # columns that older results may lack


def cider_intervals(runs: Sequence[MethodResult], baseline: str | None) -> list[CiderInterval]:
    """For each method and decoding the CIDEr over all seeds with its interval, and the comparison with the baseline.

    Raises:
        ValueError: two evaluations are not of the same images.
    """
    intervals = []
    for decoding, values in ciders_by_image(runs).items():
        for method, scores in values.items():
            compared: tuple = ()
            if baseline in values and method != baseline and captions_images(runs, method):
                compared = baseline, paired_comparison(scores, values[baseline])
            intervals.append(CiderInterval(method, decoding, bootstrap_interval(scores), *compared))
    return intervals


def pairwise_ciders(runs: Sequence[MethodResult]) -> list[PairTest]:
    """Tests between every two methods that caption images, for each decoding; raises as `ciders_by_image`."""
    ciders = ciders_by_image(runs)
    return pairwise_tests(
        {
            decoding: {method: values for method, values in of_methods.items() if captions_images(runs, method)}
            for decoding, of_methods in ciders.items()
        }
    )


def ciders_by_image(runs: Sequence[MethodResult]) -> dict[str, dict[str, np.ndarray]]:
    """{decoding: {method: (S, N)}}: CIDEr times 100 of S seeds on the same N images. Methods without it are left out.

    Raises:
        FileNotFoundError: an evaluation is not there.
        ValueError: two evaluations are not of the same images.
    """
    ciders: dict[str, dict[str, np.ndarray]] = {}
    images = None
    for decoding in _decodings(runs):
        ciders[decoding] = {}
        for method in _methods(runs):
            seeds = of_seeds(runs, method, decoding)
            scored = [scores for run in seeds if (scores := read_per_image(str(run.evaluation), "CIDEr"))]
            if not seeds or len(scored) < len(seeds):  # CIDEr could not run, as the evaluation has reported
                continue
            images = images or scored[0][0]
            for run, (image_ids, _) in zip(seeds, scored, strict=True):
                if image_ids != images:
                    raise ValueError(
                        f"{run.evaluation} is not of the same images as the others: delete it and run this again"
                    )
            ciders[decoding][method] = 100 * np.stack([part for _, part in scored])
    return ciders


def captions_images(runs: Sequence[MethodResult], method: str) -> bool:
    """Whether a method captions images. An oracle that captions texts is scored against fewer references, on another
    scale."""
    return all(run.result.caption_from == "images" for run in runs if run.method == method)


def results_table(runs: Sequence[MethodResult], intervals: Sequence[CiderInterval] = ()) -> Table:
    """One row per method, over the seeds. Oracles do not compete for best marks.

    CIDEr is shown for each decoding, with the difference from the baseline where `intervals` have it. The other metrics
    and the speed are of the first decoding. Facts that no run has, such as runs of earlier versions, have no column.
    """
    decodings = _decodings(runs)
    names = {decoding: f"CIDEr {decoding}" if len(decodings) > 1 else "CIDEr" for decoding in decodings}
    columns, rows = [Column("method"), Column("class")], []
    encoders = {run.encoder_name for run in runs if run.method_class}
    for name in names.values():
        columns.append(Column(name, 1, "higher"))
        columns += [
            Column(f"{name} vs {baseline}") for baseline in dict.fromkeys(i.baseline for i in intervals if i.comparison)
        ]
    columns += [Column("BLEU-4", 1, "higher"), Column("METEOR", 1, "higher"), Column("cosine to texts", 3, "higher")]
    columns += [Column("R@1 %", 1, "higher"), Column("parameters trained"), Column("seconds", 0)]
    columns += [Column("captions/s", 0), Column("memory MB", 1)]
    for method in _methods(runs):
        row: dict = {"method": method}
        for decoding, name in names.items():
            row[name] = [run.cider for run in of_seeds(runs, method, decoding)]
            for interval in intervals:
                if interval.comparison and (interval.method, interval.decoding_name) == (method, decoding):
                    row[f"{name} vs {interval.baseline}"] = signed_interval(interval.comparison)
        seeds = of_seeds(runs, method, decodings[0])
        # An oracle that captions texts aligns no images.
        gaps = [None if method == "oracle_text" else run.result.gap for run in seeds]
        row |= {name: [run.result.metrics.get(name) for run in seeds] for name in ("BLEU-4", "METEOR")}
        row["cosine to texts"] = [gap and gap.paired_cosine for gap in gaps]
        row["R@1 %"] = [gap and 100 * gap.image_to_text_recall_at_1 for gap in gaps]
        row |= {"class": _class(seeds[0], encoders), "parameters trained": seeds[0].trained_parameters}
        row["seconds"] = [run.total_seconds for run in seeds]
        row["captions/s"] = [run.captions_per_second for run in seeds]
        row["memory MB"] = None if (size := seeds[0].memory_bytes) is None else size / 1e6
        rows.append(row)
    known = [c for c in columns if c.name not in FACTS or any(_is_known(row[c.name]) for row in rows)]
    return Table(rows, known, unranked=ORACLES)


def _class(run: MethodResult, encoders: Collection[str | None]) -> str | None:
    """The class of a run's method, with its encoder where those of the runs differ."""
    if run.method_class is None or len(encoders) < 2:
        return run.method_class
    return f"{run.method_class} ({run.encoder_name})"


def _is_known(value: Value) -> bool:
    return value is not None and not (isinstance(value, list) and None in value)


def interval_table(intervals: Sequence[CiderInterval], medium: Medium = "image") -> Table:
    """One row per method and decoding: CIDEr with its interval, and the tests against the baseline."""
    rows = []
    for entry in intervals:
        row = {"method": entry.method, "decoding": entry.decoding_name, "CIDEr": entry.cider.value}
        row["95 % interval"] = f"[{entry.cider.low:.1f}, {entry.cider.high:.1f}]"
        if compared := entry.comparison:
            row |= {
                f"vs {entry.baseline}": signed_interval(compared),
                f"p over {medium}s": f"{compared.p_images:.2g}",
                "differences of the seeds": " ".join(f"{value:+.1f}" for value in compared.per_seed),
                "p over seeds": None if compared.p_seeds is None else f"{compared.p_seeds:.2g}",
            }
        rows.append(row)
    return Table(rows)


def spread_table(runs: Sequence[MethodResult], key: Callable[[MethodResult], str | None]) -> Table:
    """CIDEr of the first decoding, one row per method and one column per value of the runs' `key`."""
    rows, values = [], dict.fromkeys(key(run) for run in runs)
    for method in _methods(runs):
        seeds = of_seeds(runs, method, runs[0].decoding_name)
        ciders = {str(value): [run.cider for run in seeds if key(run) == value] for value in values}
        rows.append({"method": method, **ciders})
    return Table(rows, [Column("method"), *(Column(str(value), 1, "higher") for value in values)], unranked=ORACLES)


def signed_interval(comparison: PairedComparison) -> str:
    """`+9.2 [+7.1, +11.3]`: a difference with its 95 % interval."""
    return f"{comparison.difference:+.1f} [{comparison.low:+.1f}, {comparison.high:+.1f}]"


def gathered_warnings(runs: Sequence[MethodResult]) -> list[str]:
    """Warnings about the runs and metrics that could not run, each with the runs that it concerns."""
    concerned: dict[str, list[str]] = {}
    once: dict[str, MethodResult] = {}  # a run of all captions is in two tables
    for n, run in enumerate(runs):
        once.setdefault(run.evaluation or str(n), run)
    for run in once.values():
        missing = [f"{name} could not run: {reason}" for name, reason in run.result.unavailable.items()]
        which = f" on {run.tested_on}" if run.tested_on else ""
        which += f", {run.share} of the captions" if run.share else ""
        which += f", pairs: {run.pairs_share}" if run.pairs_share else ""
        for text in (*run.result.warnings, *missing):
            concerned.setdefault(text, []).append(f"{run.method} seed {run.seed} {run.decoding_name}{which}")
    return [f"{_shortened(names)}: {text}" for text, names in concerned.items()]


def of_seeds(runs: Sequence[MethodResult], method: str, decoding: str) -> list[MethodResult]:
    """The runs of a method and decoding, one per seed."""
    return [run for run in runs if (run.method, run.decoding_name) == (method, decoding)]


def _methods(runs: Sequence[MethodResult]) -> list[str]:
    return list(dict.fromkeys(run.method for run in runs))


def _decodings(runs: Sequence[MethodResult]) -> list[str]:
    return list(dict.fromkeys(run.decoding_name for run in runs))


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
