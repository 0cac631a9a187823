"""Predictions that are kept: the same bytes each time, and the same scores when they are read again."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from comparison.compare_methods import compare
from image_captioning.eval_coco import evaluate


@pytest.mark.usefixtures("without_java")
def test_kept_predictions_are_scored_as_in_the_comparison(config, compose, tmp_path):
    home = Path(config.store)
    away = shutil.copytree(home.parent, tmp_path / "data/away") / home.name
    changes = {
        "methods": ["c1", "c2_collapse", "decap_memory"], "oracles": ["oracle_text"], "seeds": [0],
        "test_on": [str(away)], "decodings": ["greedy", "beam"], "few_captions": [0.5, 1],
        "predictions_dir": f"{tmp_path}/kept",
    }  # fmt: skip
    config = OmegaConf.merge(config, changes)
    result = compare(config)
    folder = tmp_path / "kept/tiny"
    methods = ("c1", "c2_collapse", "decap_memory", "oracle_text")
    decodings = [f"{method}_seed0_{decoding}" for method in methods for decoding in ("greedy", "beam")]
    names = [f"{row}{part}.json.gz" for row in decodings for part in ("", "_on_away", "_50pct")]
    trained = [f"{row}_metrics.jsonl.gz" for row in ("c1_seed0", "c1_seed0_50pct")]  # decap_memory has the same
    trained += [f"{row}_metrics.jsonl.gz" for row in ("c2_collapse_seed0", "c2_collapse_seed0_50pct")]
    references = [f"references{what}.json.gz" for what in ("", "_without_first", "_on_away", "_without_first_on_away")]
    assert {path.name for path in folder.iterdir()} == {*names, *trained, *references}
    for run in result.runs[::2]:
        first = "_without_first" if run.method == "oracle_text" else ""
        again = evaluate(
            compose(
                "eval_coco",
                f"predictions={folder}/{run.method}_seed0_greedy.json.gz",
                f"references={folder}/references{first}.json.gz",
                "metrics=[CIDEr]",
                f"output_dir={tmp_path}/again/{run.method}",
                f"cache_dir={tmp_path}/cache",
            )
        )
        assert again.metrics["CIDEr"] == pytest.approx(run.cider)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    compare(config)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    metrics = Path(str(result.runs[0].result.checkpoint)) / "metrics.jsonl"
    assert gzip.decompress(before[folder / "c1_seed0_metrics.jsonl.gz"]) == metrics.read_bytes()
    assert all(content[4:8] == b"\0\0\0\0" for content in before.values())  # no time in it
