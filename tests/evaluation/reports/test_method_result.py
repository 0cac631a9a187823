"""Rows of comparisons, and evaluations, of this version and of earlier ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
