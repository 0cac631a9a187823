"""The table of an evaluation."""

from __future__ import annotations

from dataclasses import asdict

from evaluation.captions.result import EvaluationResult
from evaluation.table import Table


def metrics_table(result: EvaluationResult) -> Table:
    """One row per metric and other statistic, one column for the whole and each part."""
    parts, varied, text = result.parts or {}, result.diversity, result.training_text
    rows = [
        {"metric": name, "value": value, **{part: part_result.metrics[name] for part, part_result in parts.items()}}
        for name, value in result.metrics.items()
    ]
    others: dict[str, str] = {}
    if result.log_likelihood:
        others["log-likelihood per token"] = f"{result.log_likelihood.per_token:.3f}"
    if varied:
        others |= {"distinct-1": f"{varied.distinct_1:.3f}", "distinct-2": f"{varied.distinct_2:.3f}"}
        others |= {"vocabulary": f"{varied.vocabulary:,}", "words per caption": f"{varied.words:.1f}"}
    if text and text.novel_captions is not None:
        others["novel captions %"] = f"{100 * text.novel_captions:.1f}"
    if result.gap:
        others |= {name.replace("_", " "): f"{value:.3f}" for name, value in asdict(result.gap).items()}
    rows += [{"metric": name, "value": value} for name, value in others.items()]
    counts = {"value": result.images, **{part: part_result.images for part, part_result in parts.items()}}
    rows.append({"metric": "images", **{name: f"{count:,}" for name, count in counts.items()}})
    return Table(rows)
