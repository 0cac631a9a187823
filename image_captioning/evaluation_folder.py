"""An evaluation's folder: what it holds already, and what is written to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from common.files import write_whole
from evaluation.captions.metrics import CaptionScores
from evaluation.captions.prediction_files import read_predictions
from evaluation.captions.scoring import CLIP_SCORE, Scoring, failed_metrics
from training.run_folder import first_difference

EARLIER = ("replace", "renew", "keep")


def measure_inputs(scoring: Scoring) -> dict:
    """Of an evaluation's inputs, those that say what was measured and how."""
    clip = {"store": scoring.clip.store, "prefix": scoring.clip.prefix, "weight": scoring.clip.weight}
    if CLIP_SCORE in scoring.metrics:
        clip["reference_prefix"] = scoring.clip.prefix  # there was none: RefCLIPScore was another
    return {"metrics": list(scoring.metrics), "clip_score": clip}


def earlier_figures(
    output_dir: Path, inputs: dict, earlier: str, scoring: Scoring, references: Mapping[str, list[str]]
) -> dict | None:
    """The figures in `output_dir` of the same inputs, None where there are none. Metrics that failed are tried again.

    earlier: what becomes of others' figures there: they are replaced (`renew`) or refused (`keep`, with ValueError);
        `replace` has all done again.
    """
    if earlier not in EARLIER:
        raise ValueError(f"earlier={earlier!r} must be one of {', '.join(EARLIER)}")
    path, refuse = output_dir / "scores.json", earlier == "keep"
    if earlier == "replace" or not path.exists():
        return None
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        figures = None
    if not isinstance(figures, dict):
        difference = "its scores.json is damaged"
    elif figures.get("unfinished"):
        return None
    else:
        difference = first_difference(figures["inputs"], inputs) if "inputs" in figures else "it does not say of what"
    if refuse and difference:
        raise ValueError(
            f"{output_dir} holds another evaluation ({difference}): give this one a folder of its own with "
            "output_dir=..., or replace the old one with overwrite=true"
        )
    if difference:
        return None
    if failed_metrics(figures) and (figures := _tried_again(output_dir, figures, scoring, references)) is None:
        return None
    if refuse:
        where = f" on {figures['device']}" if "device" in figures else ""
        print(f"Already evaluated{where}: {output_dir} (again with overwrite=true)")
    return figures


def _tried_again(output_dir: Path, figures: dict, scoring: Scoring, references: Mapping) -> dict | None:
    """The figures with the metrics that can be had now; None where the captions or their values are gone."""
    try:
        predictions = read_predictions(output_dir / "predictions.json")
        per_image = json.loads((output_dir / "per_image.json").read_text(encoding="utf-8"))
        there = {image_id: references[image_id] for image_id in per_image["image_ids"]}
        predictions = {image_id: predictions[image_id] for image_id in there}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    before = failed_metrics(figures)
    figures, per_image = scoring.measure_again(figures, per_image, predictions, there)
    if failed_metrics(figures) != before:
        _write(output_dir, figures, per_image)
    return figures


def write_scores(output_dir: Path, figures: dict, scores: CaptionScores) -> None:
    """`scores.json`, the figures; `per_image.json`, the metrics image by image, for intervals and paired tests."""
    per_image = {name: values.tolist() for name, values in scores.per_image.items()}
    _write(output_dir, figures, {"image_ids": scores.image_ids, **per_image})


def _write(output_dir: Path, figures: dict, per_image: dict) -> None:
    write_whole(output_dir / "per_image.json", json.dumps(per_image))
    write_whole(output_dir / "scores.json", json.dumps(figures, indent=2) + "\n")
