"""Semi-supervised training: text-only captioners go on with some image-text pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from comparison.compare_methods import compare, runs_of
from comparison.few_pairs import check_startable
from comparison.few_pairs import with_pairs as runs_with_pairs
from comparison.methods import Method, find_methods
from comparison.parts import parts_of
from evaluation.reports.comparison_result import Plot
from image_captioning.captioner import Captioner


@pytest.fixture
def with_pairs(config):
    changes = {"methods": ["c3", "decap_memory"], "seeds": [0], "few_pairs": [0.1, 1]}
    changes |= {
        "few_pairs_captioner": ["loop.evaluate_every=2", "loop.keep=paired_validation_loss"],
        "fine_tuning": ["loop.steps=4"],
    }
    return OmegaConf.merge(config, changes)


@pytest.mark.usefixtures("without_java")
def test_text_only_captioners_go_on_with_pairs(with_pairs, tmp_path, monkeypatch):
    result = compare(with_pairs)
    rows = {(run.pairs_share, run.method): run for run in result.few_pairs}
    shares = ("none", "10 %", "100 %")
    assert list(rows) == [
        (share, method)
        for share in shares
        for method in ("c3", "decap_memory", "from_scratch")
        if (share, method) != ("none", "from_scratch")
    ]
    assert [rows["none", name].result.metrics for name in ("c3", "decap_memory")] == [
        run.result.metrics for run in result.runs
    ]
    assert [rows[share, "c3"].percent for share in shares] == [0, 12.5, 100]  # of 16 pairs
    for (share, method), run in rows.items():
        provenance = run.result.provenance
        assert provenance["uses_pairs"] == (share != "none") == ("pairs" in str(run.method_class))
        assert ("init_from" in provenance) == (share != "none" and method != "from_scratch")
        assert provenance["captions"] == {"none": 60, "10 %": 2, "100 %": 16}[share]

    folders = {path.name for path in (tmp_path / "outputs/image_captioning").iterdir()}
    made = {
        f"tiny{part}_{method}_seed0"
        for part in ("_10pct_pairs", "_100pct_pairs")
        for method in ("c3", "decap_memory", "from_scratch")
    }
    assert folders == made | {"tiny_c3_seed0", "tiny_decap_memory_seed0"}
    before = Captioner.load(tmp_path / "outputs/image_captioning/tiny_c3_seed0").state_dict()
    after = Captioner.load(tmp_path / "outputs/image_captioning/tiny_10pct_pairs_c3_seed0").state_dict()
    moved = [float((after[name] - weights).abs().max()) for name, weights in before.items() if "weight" in name]
    assert 0 < max(moved) < 0.1  # a few small steps from where it was
    table = " ".join((tmp_path / "table/table.md").read_text().split())
    assert "| method | none | 10 % | 100 % |" in table and "from_scratch" in table
    assert (tmp_path / "table/few_pairs.svg").is_file() and "pairs" in (tmp_path / "table/report.html").read_text()
    assert type(result).from_json(result.to_json()).to_json() == result.to_json()

    monkeypatch.setattr("training.loop.Loop.fit", lambda *a, **k: pytest.fail("trained"))
    kept = OmegaConf.merge(with_pairs, {"predictions_dir": str(tmp_path / "kept")})
    assert compare(kept).to_json()["few_pairs"] == result.to_json()["few_pairs"]
    names = {path.name for path in (tmp_path / "kept/tiny").iterdir()}
    assert {
        "c3_seed0_greedy.json.gz",
        "c3_seed0_greedy_10pct_pairs.json.gz",
        "from_scratch_seed0_100pct_pairs_metrics.jsonl.gz",
    } <= names


@pytest.mark.usefixtures("without_java")
def test_oracles_are_in_no_column_of_parts(with_pairs, monkeypatch):
    monkeypatch.setattr("comparison.compare_methods._plot_parts", lambda *a: Plot("none.svg", ""))
    changes = {"methods": ["c2_collapse"], "oracles": ["oracle_pairs", "oracle_text"], "few_pairs": [1]}
    changes |= {"few_captions": [0.5], "tries": {"c2_collapse": [["label_smoothing=0.1"]]}}
    result = compare(OmegaConf.merge(with_pairs, changes))
    assert {run.method for run in result.runs} == {"c2_collapse", "oracle_pairs", "oracle_text"}
    assert [(run.pairs_share, run.method) for run in result.few_pairs] == [
        ("none", "c2_collapse"), ("100 %", "c2_collapse"), ("100 %", "from_scratch"),
    ]  # fmt: skip
    assert [run.method for run in result.few_captions] == ["c2_collapse", "oracle_text"]
    of_pairs = next(run for run in result.runs if run.method == "oracle_pairs")
    assert (
        OmegaConf.load(Path(str(of_pairs.result.checkpoint)) / "config.yaml").label_smoothing == 0.1
    )  # as c2_collapse


@pytest.mark.usefixtures("without_java")
def test_methods_that_read_images_in_other_ways_learn_from_pairs_separately(with_pairs):
    shared = OmegaConf.merge(with_pairs, {"methods": ["c1", "decap_memory"], "few_pairs": [1]})
    result = compare(shared)
    assert {run.method: run.trained_as for run in result.runs} == {"c1": "c1", "decap_memory": "c1"}
    with_all = {run.method: run for run in result.few_pairs if run.pairs_share == "100 %"}
    assert {name: run.trained_as for name, run in with_all.items()} == {name: name for name in with_all}
    weights = [Captioner.load(Path(with_all[name].result.checkpoint)).state_dict() for name in ("c1", "decap_memory")]
    assert not all(torch.equal(one, other) for one, other in zip(*(each.values() for each in weights), strict=True))


def test_all_pairs_are_all_whatever_part_of_the_text_was_learned(with_pairs):
    runs = runs_of(OmegaConf.merge(with_pairs, {"captioner": [*with_pairs.captioner, "train_captions=8"]}))
    for part, count in zip(parts_of("few_pairs", [0.5, 1], 16, "pairs"), (8, None), strict=True):
        some = runs_with_pairs(runs, part, 0, (), ())
        assert {some.trainings(method, 0)[-1].config.train_captions for method in some.methods} == {count}


def test_methods_that_cannot_go_on_are_refused_before_their_tries_are_trained(with_pairs, monkeypatch):
    monkeypatch.setattr("training.loop.Loop.fit", lambda *a, **k: pytest.fail("trained"))
    changes = {"methods": ["c1", "viecap"], "tries": {"viecap": [["alignment.noise_std=0.1"]]}}
    with pytest.raises(ValueError, match="viecap has parts=viecap"):
        compare(OmegaConf.merge(with_pairs, changes))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Method("pcm_net", "c2_corrupt", "pcm_net", captioner="pcm_net"), "pcm_net is a PCM-Net"),
        (Method("ours", "c3", "ours", {"image_captioning": ("parts=viecap",)}), "ours has parts=viecap"),
        (Method("from_scratch", "c3", "from_scratch"), "its baseline: rename"),
    ],
)
def test_what_cannot_go_on_is_refused(method, message):
    with pytest.raises(ValueError, match=message):
        check_startable([method])
    check_startable(find_methods(["c3", "memory_bridge"], []))
    check_startable([replace(method, name="c3", captioner="image_captioning", overrides={})])
