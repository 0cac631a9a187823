"""An evaluation's result in `scores.json`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from evaluation.captions.result import EvaluationResult, Likelihood, PartResult


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


def test_a_damaged_section_is_named():
    with pytest.raises(ValueError, match=r"gap\.centroid_distance"):
        EvaluationResult.from_json({"metrics": {"CIDEr": 1.0}, "gap": {"paired_cosine": 0.5}})
