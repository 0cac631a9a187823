"""Rows of comparisons, and evaluations, of this version and of earlier ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.captions.result import EvaluationResult, Likelihood, PartResult
from evaluation.reports.method_result import MethodResult

RESULTS = Path(__file__).parents[3] / "results"


@pytest.mark.parametrize("name", ["demo", "demo_longer_training", "flickr8k_photos", "flickr8k_photos_few_captions"])
def test_rows_of_shipped_results_are_read_with_what_they_have(name):
    content = json.loads((RESULTS / f"{name}.json").read_text())
    for row in [*content["runs"], *content.get("few_captions", ())]:
        run = MethodResult.from_json(row)
        assert run.to_json() == {"training_device": None, **row}
        assert run.cider == row["metrics"]["CIDEr"] and run.result.gap.paired_cosine == row["gap"]["paired_cosine"]
        assert run.result.provenance["dataset"] == row["dataset"]
        assert (run.result.log_likelihood is None) == ("log_likelihood" not in row)


def test_a_result_is_the_same_after_a_file():
    result = EvaluationResult(
        metrics={"CIDEr": 90.0, "SPICE": None},
        images=2,
        unavailable={"SPICE": "no Java"},
        parts={"in-domain": PartResult(metrics={"CIDEr": 80.0}, images=1)},
        log_likelihood=Likelihood(-1.5, 20),
        image_mean={"from": None},
        provenance={"dataset": "demo", "seed": 0},
        per_image={"image_ids": ["a", "b"]},
    )
    content = result.to_json()
    assert content["metrics"]["SPICE"] is None and content["dataset"] == "demo" and "gap" not in content
    assert "per_image" not in content and content["image_mean"] == {"from": None}
    assert EvaluationResult.from_json(json.loads(json.dumps(content))) == replace(result, per_image={})
