"""Comparisons of PCM-Nets on pictures of several painters: CIDEr against the options, the captions and the painter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pandas import DataFrame

from evaluation.reports.comparison_report import read_comparison, results_file
from evaluation.reports.comparison_result import ComparisonResult
from evaluation.reports.method_result import MethodResult

# Panels: {what is changed alone: the axis' label}. The first three are options of configs/pcm_net.yaml.
OPTIONS = {
    "mixup.concepts": "K, concepts of a picture",
    "mixup.pairs": "M, pairs that select patches",
    "clip_weight_scale": "w, scale of the caption weights",
}
CAPTIONS, PAINTER = "captions", "unfaithfulness"
LABELS = {**OPTIONS, CAPTIONS: "% of the training captions", PAINTER: "unfaithfulness of the painter"}
# The method whose options are changed, its base, and the ablation's rows: names of configs/experiment/demo_pcm_net.
USUAL, BASE = "pcm_net", "pcm_base"
ABLATION = {BASE: "base", "pcm_mixup": "+ mix-up", "pcm_cxe": "+ CXE", USUAL: "both: PCM-Net"}
NO_VALUE = "none"  # of an option that is null


@dataclass(frozen=True)
class PaintedPoint:
    """The score of a captioner in a panel.

    Attributes:
        panel: of `LABELS`.
        value: its place on the axis.
        method: its name in the comparison.
        level: the painter's unfaithfulness.
    """

    panel: str
    value: float | str
    method: str
    level: float
    seed: int
    score: float


def read_painters(comparisons: Sequence[str], metric: str, decoding: str | None) -> tuple[DataFrame, str, list[str]]:
    """What the panels show of finished comparisons, each on pictures of one painter.

    Several comparisons may be of the same painter, such as of options and of fewer captions. What they share counts
    once.

    Args:
        comparisons: folders with `results.json`, or such files.
        metric: a metric of the results.
        decoding: one of all comparisons; None for their first.

    Returns:
        A row per `PaintedPoint`, in order of the panels; the decoding; the data sets.

    Raises:
        FileNotFoundError: there are no results.
        ValueError: a file has no PCM-Net, no painter or no such metric or decoding, or two files contradict each other.
    """
    points: dict[tuple, tuple[PaintedPoint, str]] = {}
    decodings, datasets = {}, {}
    for comparison in comparisons:
        file, result = str(results_file(comparison)), read_comparison(comparison, option="painters")
        chosen = _decoding(result, decoding, file)
        decodings.setdefault(chosen, file)
        for point in _points(result, chosen, metric, file):
            key = (point.panel, point.value, point.method, point.level, point.seed)
            earlier, origin = points.setdefault(key, (point, file))
            if earlier.score != point.score:
                raise ValueError(
                    f"{origin} and {file} (option painters) have different {metric} of {point.method}, "
                    f"seed {point.seed}, {point.panel}={point.value}, unfaithfulness {point.level:g}: "
                    f"{earlier.score:.4g} and {point.score:.4g}. Leave one of them out"
                )
        datasets |= dict.fromkeys(_datasets(result))
    if len(decodings) > 1:
        (one, file), (other, its_file) = list(decodings.items())[:2]
        raise ValueError(
            f"{file} begins with the decoding {one} and {its_file} with {other}: choose one of both with "
            "shown_decoding=..."
        )
    rows = sorted((point for point, _ in points.values()), key=_place)
    return DataFrame([vars(row) for row in rows]), next(iter(decodings)), list(datasets)


def _place(point: PaintedPoint) -> tuple:
    number, word = (0.0, point.value) if isinstance(point.value, str) else (point.value, "")
    return list(LABELS).index(point.panel), word, number, point.level


def _points(result: ComparisonResult, decoding: str, metric: str, file: str) -> Iterator[PaintedPoint]:
    runs = [run for run in result.runs if run.decoding_name == decoding and _is_pcm_net(run)]
    if not runs:
        raise ValueError(
            f"{file} (option painters) has no PCM-Net: give comparisons such as of experiment=demo_pcm_net"
        )
    options = _options(result)
    for run in runs:
        level, score = _level(run, file), _score(run, metric, file)
        for option, value in _changed(options, run.method).items():
            yield PaintedPoint(option, value, run.method, level, run.seed, score)
        if run.method in ABLATION:
            yield PaintedPoint(PAINTER, level, run.method, level, run.seed, score)
    for run in result.few_captions:
        if run.decoding_name == decoding and run.method in (USUAL, BASE) and run.percent is not None:
            level, score = _level(run, file), _score(run, metric, file)
            yield PaintedPoint(CAPTIONS, run.percent, run.method, level, run.seed, score)


def _options(result: ComparisonResult) -> dict[str, dict[str, Any]]:
    """{method: its options of a PCM-Net}, as far as the comparison's configuration names them."""
    variants: Mapping[str, Mapping] = result.config.get("variants") or {}
    everywhere = _values(result.config.get("pcm_net") or ())
    usual = {**everywhere, **_values(variants.get(USUAL, {}).get("pcm_net") or ())}
    named = {name: variant["pcm_net"] or () for name, variant in variants.items() if "pcm_net" in variant}
    return {USUAL: usual, **{name: {**usual, **_values(overrides)} for name, overrides in named.items()}}


def _changed(options: Mapping[str, Mapping[str, Any]], method: str) -> dict[str, float | str]:
    """{option: value}: the one of `OPTIONS` that differs from the usual, or all of them for the usual method itself."""
    usual, its = options[USUAL], options.get(method)
    if its is None:
        return {}
    differing = [name for name in {**usual, **its} if name not in usual or its[name] != usual[name]]
    known = {name: NO_VALUE if its[name] is None else its[name] for name in OPTIONS if name in usual}
    if not differing:
        return known
    return {name: known[name] for name in known if [name] == differing}


def _values(overrides: Sequence[str]) -> dict[str, Any]:
    """{option: value} of Hydra's overrides; the last one counts."""
    pairs = (text.lstrip("+").partition("=") for text in overrides)
    return {name: yaml.safe_load(value) for name, _, value in pairs}


def _is_pcm_net(run: MethodResult) -> bool:
    return "global_row" in run.result.provenance and run.result.provenance.get("train_on") == "synthetic"


def _level(run: MethodResult, file: str) -> float:
    painter = run.result.provenance.get("painter") or {}
    level = painter.get("unfaithfulness")
    if level is None:
        raise ValueError(
            f"{file} (option painters) does not say how unfaithful the painter of {run.method} was: it was not "
            "painter=demo, or an earlier version trained it. Train it again, with painter=demo, for this figure"
        )
    return float(level)


def _score(run: MethodResult, metric: str, file: str) -> float:
    score = run.result.metrics.get(metric)
    if score is None:
        known = ", ".join(name for name, value in run.result.metrics.items() if value is not None)
        raise ValueError(f"metric={metric} is not in {file} for {run.method}, seed {run.seed}, which has {known}")
    return score


def _decoding(result: ComparisonResult, decoding: str | None, file: str) -> str:
    known = list(dict.fromkeys(run.decoding_name for run in result.runs))
    if decoding is not None and decoding not in known:
        raise ValueError(f"shown_decoding={decoding} is not in {file}, which has {', '.join(known) or 'none'}")
    return decoding or (known[0] if known else "")


def _datasets(result: ComparisonResult) -> list[str]:
    return [run.evaluated_on for run in result.runs if run.evaluated_on is not None]
