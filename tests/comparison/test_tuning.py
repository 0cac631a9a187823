"""Tries of methods: all are scored on another split, and the best one's settings are used with all seeds."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from common.hints import with_hint
from comparison.compare_methods import compare
from comparison.trainings import TRAIN
from evaluation.reports.comparison_result import ComparisonResult
from evaluation.reports.tries import TryResult, tries_table

NOISE = [["alignment.noise_std=2.0"], ["alignment.noise_std=0.05"], []]
TEMPERATURE = [["alignment.temperature=0.5"], ["alignment.temperature=0.02"]]
NAMES = ["c3_alignment.noise_std-2.0", "c3_alignment.noise_std-0.05", "c3_as_configured"]


@pytest.fixture
def tuned(config):
    """Three tries of c3's noise, two of the memory's temperature, none of c1."""
    changes = {"methods": ["c1", "c3", "decap_memory"], "tries": {"c3": NOISE, "decap_memory": TEMPERATURE}}
    return OmegaConf.merge(config, changes)


@pytest.mark.usefixtures("without_java")
def test_the_best_try_on_the_other_split_is_used_with_all_seeds(tuned, tmp_path, monkeypatch):
    result = compare(tuned)
    noise, temperature = result.tries[:3], result.tries[3:]
    assert [entry.overrides for entry in result.tries] == [*NOISE, *TEMPERATURE]
    for of_method in (noise, temperature):
        best = max(of_method, key=lambda entry: entry.cider)
        assert [entry.used for entry in of_method] == [entry is best for entry in of_method]
    folders = [Path(str(entry.evaluation)) for entry in result.tries]
    assert [folder.name for folder in folders[:3]] == [f"tiny_{name}_seed0_val_greedy" for name in NAMES]
    scores = [json.loads((folder / "scores.json").read_text())["metrics"]["CIDEr"] for folder in folders]
    assert scores == [entry.cider for entry in result.tries]

    captioners = tmp_path / "outputs/image_captioning"
    best = next(entry for entry in noise if entry.used).overrides
    std = float(best[0].partition("=")[2]) if best else 0.2  # that of the variant c3
    for run in result.runs:
        trained = OmegaConf.load(Path(str(run.result.checkpoint)) / "config.yaml")
        assert run.method != "c3" or trained.alignment.noise_std == std
    # The tries' trainings serve the rows: c3's best one, and one for the memory's two tries, the memory and c1.
    memory = "tiny_decap_memory_alignment.temperature-0.5_seed0"
    assert {path.name for path in captioners.iterdir()} == {
        *(f"tiny_{name}_seed0" for name in NAMES), memory, "tiny_c3_seed1", "tiny_c1_seed1",
    }  # fmt: skip
    classes = {run.method: run.method_class for run in result.runs}
    assert classes == {
        "c1": "text only",
        "c3": "text + unpaired images, selected on pairs",
        "decap_memory": "text + text memory, selected on pairs",
    }
    chosen = float(next(entry for entry in temperature if entry.used).overrides[0].partition("=")[2])
    inputs = [run.result for run in result.runs if run.method == "decap_memory"]
    of_memory = [
        step.get("temperature", chosen)
        for each in inputs
        for step in each.image_alignment or OmegaConf.load(Path(str(each.checkpoint)) / "config.yaml").alignment.steps
    ]
    assert set(of_memory) == {chosen}

    table = (tmp_path / "table/table.md").read_text()
    assert "selected on pairs: c3, decap_memory." in table and "| as configured" in table
    assert "Tries on val" in (tmp_path / "table/report.html").read_text()
    written = json.loads((tmp_path / "table/results.json").read_text())
    assert ComparisonResult.from_json(written).tries == result.tries

    monkeypatch.setattr("image_captioning.captioner.Captioner.caption", lambda *a, **k: pytest.fail("captioned"))
    monkeypatch.setattr("training.loop.Loop.fit", lambda *a, **k: pytest.fail("trained"))
    again = compare(tuned)
    assert again.tries == result.tries and [run.to_json() for run in again.runs] == [r.to_json() for r in result.runs]


@pytest.mark.usefixtures("without_java")
def test_tries_of_an_earlier_comparison_are_not_made_again(tuned, tmp_path, monkeypatch):
    first = compare(OmegaConf.merge(tuned, {"seeds": [0]}))
    shutil.move(tmp_path / "outputs", tmp_path / "elsewhere")
    earlier = {"tried": [f"{tmp_path}/table/results.json"], "seeds": [1], "output_dir": f"{tmp_path}/second"}
    result = compare(OmegaConf.merge(tuned, earlier))
    assert result.tries == first.tries
    trained = {path.name for path in (tmp_path / "outputs/image_captioning").iterdir()}
    assert len(trained) == 2 and all(name.endswith("seed1") for name in trained)
    assert {run.method: run.method_class for run in result.runs}["c3"].endswith("selected on pairs")
    assert any(f"not made again: {tmp_path}" in note for note in result.notes)

    monkeypatch.setattr("training.loop.Loop.fit", lambda *a, **k: pytest.fail("trained"))
    for change, message in (
        ({"tune_decoding": "beam"}, "tried with tune_decoding='greedy', and here tune_decoding='beam'"),
        ({"captioner": [*tuned.captioner, "label_smoothing=0.1"]}, "tried with captioner="),
        ({"variants": {"c3": {"captioner": []}}}, r"tried with variants\.c3="),
        ({"tries": {"c3": [["alignment.noise_std=0.7"]], "decap_memory": [[]]}}, "has none of the tries"),
        ({"tried": ["nowhere.json"]}, "tried=nowhere.json: there is no such comparison"),
        ({"tried": [*earlier["tried"] * 2]}, "is in two of them"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            compare(OmegaConf.merge(tuned, earlier, change))


@pytest.mark.usefixtures("without_java")
def test_an_experiments_tries_may_be_dropped(tuned):
    changed = OmegaConf.merge(tuned, {"methods": ["c3"], "seeds": [0]})
    del changed["tries"]  # as ~tries does
    assert compare(changed).tries == []


@pytest.mark.usefixtures("without_java")
def test_one_try_sets_what_it_says_and_selects_nothing(config):
    changes = {"methods": ["c3"], "seeds": [0], "tries": {"c3": [["alignment.noise_std=0.3"]]}}
    result = compare(OmegaConf.merge(config, changes))
    assert [entry.used for entry in result.tries] == [True]
    assert result.runs[0].method_class == "text + unpaired images"
    trained = OmegaConf.load(Path(str(result.runs[0].result.checkpoint)) / "config.yaml")
    assert trained.alignment.noise_std == 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tries": {"c4": [[]]}}, r"tries\.c4 is of none of methods=\['c1', 'c3'\]"),
        ({"tries": {"oracle_pairs": [[]]}, "oracles": ["oracle_pairs"]}, r"tries\.oracle_pairs is of none of methods"),
        ({"tries": {"c3": []}}, r"tries\.c3=\[\] must be a list of lists"),
        ({"tries": {"c3": ["alignment.noise_std=0.1"]}}, r"must be a list of lists of overrides"),
        ({"tries": {"c3": [[{"alignment.noise_std": 0.1}]]}}, r"must be a list of lists of overrides"),
        (
            {"tries": {"c3": [["alignment.noise_std=0.2"], []]}},
            r"tries\.c3 has \['alignment\.noise_std=0\.2'\] and \[\]",
        ),
        ({"tries": {"c3": [["alignment.noise=0.2"]]}}, r"alignment\.noise"),
        ({"tries": {"c3": [["seed=2"]]}}, "seed is for this command to set"),
        ({"tries": {"c3": [[]]}, "tune_split": ["val", "test"]}, r"tune_split=\['val', 'test'\] must be one split"),
        ({"tries": {"c3": [[]]}, "tune_split": "test"}, r"tune_split=test has images of .* \(split=test\)"),
        ({"tries": {"c3": [[]]}, "tune_split": "val+test"}, r"tune_split=val\+test has images of the split"),
        ({"tries": {"c3": [[]]}, "tune_split": "val", "split": "test+val"}, r"tune_split=val has images of the split"),
        ({"tries": {"c3": [[]]}, "tune_split": "dev"}, "dev"),
        ({"tries": {"c3": [[]]}, "tune_seed": 0.5}, r"seeds=\[0\.5\]"),
        ({"tries": {"c3": [[]]}, "tune_decoding": "loud"}, "decoding=loud"),
    ],
)
def test_bad_tries_are_refused_before_anything_trains(config, change, message, monkeypatch):
    for stage in TRAIN:
        monkeypatch.setitem(TRAIN, stage, lambda *a: pytest.fail("trained"))
    config.methods = ["c1", "c3"]
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        compare(OmegaConf.merge(config, change))
    assert re.search(message, with_hint(caught.value))


def test_the_table_of_tries_says_how_many_each_method_had():
    tries = [TryResult("c3", ["a=1", "b=2"], 40.0, False), TryResult("c3", [], 41.5, True)]
    rows = [[cell.text for cell in row] for row in tries_table(tries, ["c1", "c3"]).cells()]
    assert rows == [
        ["c1", "0", "as configured", "–", "yes"],
        ["c3", "2", "a=1 b=2", "40.0", ""],
        ["c3", "2", "as configured", "41.5", "yes"],
    ]
