"""A comparison in `results.json`: of this version, and of those that the shipped files were written by."""

from __future__ import annotations

import json

import pytest

from common.paths import ROOT
from evaluation.captions.result import EvaluationResult
from evaluation.embeddings.retrieval import TranslationMetrics
from evaluation.reports.comparison_result import CiderInterval, ComparisonResult, Plot
from evaluation.reports.method_result import MethodResult
from evaluation.reports.statistics import Interval, PairedComparison
from evaluation.reports.translation_result import TranslationResult

SHIPPED = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "results").glob("*.json"))}


@pytest.mark.parametrize("name", [name for name, content in SHIPPED.items() if "runs" in content])
def test_every_shipped_comparison_is_read_and_written_with_all_that_it_has(name):
    content = SHIPPED[name]
    result = ComparisonResult.from_json(content)
    written = json.loads(json.dumps(result.to_json()))
    for row in (*written["runs"], *written["few_captions"]):
        if row.get("training_device") is None:
            row.pop("training_device", None)  # older files have no such key
    assert {key: written[key] for key in content} == content
    assert result.seeds in ([0], [0, 1], [0, 1, 2]) and bool(result.runs) != bool(result.translations)


def test_a_comparison_is_the_same_after_a_file():
    run = MethodResult(result=EvaluationResult(metrics={"CIDEr": 9.0}), method="c3", seed=0, decoding_name="greedy")
    compared = PairedComparison(2.0, 1.0, 3.0, 0.01, [2.0], None)
    result = ComparisonResult(
        title="T",
        config={"name": "n"},
        runs=[run],
        intervals=[
            CiderInterval("c1", "greedy", Interval(7.0, 6.0, 8.0)),
            CiderInterval("c3", "greedy", Interval(9.0, 8.0, 10.0), "c1", compared),
        ],
        seeds=[0],
        split="test",
        plots=[Plot("few.svg", "A caption.")],
        minutes=1.5,
        facts={"command": "python x", "world": "abc"},
    )
    content = json.loads(json.dumps(result.to_json()))
    assert content["world"] == "abc" and "facts" not in content and "translations" not in content
    assert content["intervals"][1]["p_seeds"] is None and content["intervals"][1]["difference"] == 2.0
    assert ComparisonResult.from_json(content) == result
    assert result.baseline == "c1" and result.heading == "T"


def test_a_comparison_of_translations_has_its_rows_in_place_of_runs():
    metrics = TranslationMetrics(0.1, 0.2, 0.3, 5.0, 10, similarity=0.9)
    chosen = {"image_to_text": {"gamma": 0.5}}
    row = TranslationResult(row="ced", seed=1, seconds=2.0, chosen=chosen, metrics={"image_to_text": metrics})
    result = ComparisonResult(config={"name": "demo"}, translations=[row], seeds=[1], split="val")
    content = json.loads(json.dumps(result.to_json()))
    assert content["runs"][0]["image_to_text"]["similarity"] == 0.9 and "title" not in content
    assert ComparisonResult.from_json(content) == result and result.heading == "Comparison demo"


def test_a_damaged_section_is_named():
    row = {"method": "c3", "seed": 0, "decoding_name": "greedy", "metrics": {}}
    with pytest.raises(ValueError, match=r"plots\.0\.caption"):
        ComparisonResult.from_json({"runs": [row], "plots": [{"file": "x.svg"}]})
