"""Rows of a finished comparison beside new ones: the same figures, tested image by image, and bad input."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from comparison.compare_methods import compare

pytestmark = pytest.mark.usefixtures("without_java")


@pytest.fixture
def published(config, tmp_path):
    """(config of a new comparison, file): of c1 and c2_collapse, whose rows it stands beside, with their captions."""
    old = {"methods": ["c1", "c2_collapse"], "oracles": ["oracle_text"], "decodings": ["greedy", "beam"]}
    old |= {"predictions_dir": f"{tmp_path}/board/predictions", "pictures": 0}
    compare(OmegaConf.merge(config, old))
    file = tmp_path / "board/board.json"
    shutil.copy(tmp_path / "table/results.json", file)
    for folder in ("outputs", "table"):  # the machine of then is not here
        shutil.rmtree(tmp_path / folder)
    new = {"methods": ["c3"], "published": [str(file)], "name": "new", "baseline": "c1", "pictures": 0}
    return OmegaConf.merge(config, new), file


def test_published_rows_are_tested_against_new_ones(published, tmp_path):
    config, file = published
    result = compare(OmegaConf.merge(config, {"predictions_dir": f"{tmp_path}/kept"}))
    assert list(dict.fromkeys(run.method for run in result.runs)) == ["c3", "c1", "c2_collapse", "oracle_text"]
    before = {
        (row["method"], row["seed"]): row
        for row in json.loads(file.read_text())["runs"]
        if row["decoding_name"] == "greedy"
    }
    for run in result.runs[2:]:
        row = before[run.method, run.seed]
        assert run.cider == row["metrics"]["CIDEr"]
        assert (run.total_seconds, run.method_class) == (row["total_seconds"], row["method_class"])
        assert run.published == str(file)
        per_image = json.loads((Path(str(run.evaluation)) / "per_image.json").read_text())
        assert 100 * sum(per_image["CIDEr"]) / len(per_image["CIDEr"]) == pytest.approx(run.cider)
    tests = {(test.method, test.other) for test in result.pairwise}
    assert {frozenset(pair) for pair in tests} >= {frozenset(("c3", "c1")), frozenset(("c3", "c2_collapse"))}
    assert {entry.method for entry in result.intervals if entry.comparison} == {"c3", "c2_collapse"}
    assert any(str(file) in note and "c1 (0 1), c2_collapse (0 1), oracle_text" in note for note in result.notes)
    assert "hash is another" not in " ".join(result.notes)
    # What is kept of them is what was kept before.
    kept = {path.name: path.read_bytes() for path in (tmp_path / "kept/new").iterdir()}
    first = {path.name: path.read_bytes() for path in (file.parent / "predictions/tiny").iterdir()}
    assert {name: kept[name] for name in kept if "c3" not in name} == {n: first[n] for n in first if "beam" not in n}
    # Once more, from the evaluations that are there now.
    again = compare(OmegaConf.merge(config, {"published": [f"{tmp_path}/table"], "name": "again", "methods": ["c1"]}))
    assert [run.cider for run in again.runs if run.method == "c3"] == [run.cider for run in result.runs[:2]]


def test_method_that_is_trained_anew_takes_the_place_of_the_published_one(published):
    config, _ = published
    tries = {"tries": {"c1": [["loop.steps=3"], ["loop.steps=4"]]}}  # of a method that is not trained here
    result = compare(OmegaConf.merge(config, tries, {"methods": ["c2_collapse"], "tune_split": "train"}))
    anew = [run for run in result.runs if run.method == "c2_collapse"]
    assert [run.published for run in anew] == [None, None]
    assert {run.method for run in result.runs if run.published} == {"c1", "oracle_text"}
    assert result.tries == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [0, 7]}, "has no c1 with seed 7 and greedy"),
        ({"decodings": ["greedy", "beam3"]}, "has no c1 with seed 0 and beam3"),
        ({"split": "train"}, "is of split=test, this comparison of train"),
        ({"published": ["nowhere.json"]}, "published=nowhere.json: there is no such comparison"),
        ({"baseline": "c9"}, r"baseline='c9' must be null or one of methods=\['c3', 'c1'"),
    ],
)
def test_published_comparison_that_does_not_fit(published, changes, message):
    config, _ = published
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        compare(OmegaConf.merge(config, changes))
    assert not Path(f"{config.runs_dir}/image_captioning").exists()


def test_seeds_of_a_method_may_be_in_several_files(published, tmp_path):
    config, file = published
    more = {"methods": ["c1", "c2_collapse"], "seeds": [2], "published": [], "oracles": ["oracle_text"], "name": "more"}
    compare(OmegaConf.merge(config, more, {"output_dir": f"{tmp_path}/more"}))
    both = {"published": [f"{tmp_path}/more", str(file)], "seeds": [0, 1, 2]}
    result = compare(OmegaConf.merge(config, both))
    assert [run.seed for run in result.runs if run.method == "c1"] == [0, 1, 2]
    assert {len(pair.comparison.per_seed) for pair in result.pairwise} == {3}


def test_same_method_in_two_files(published, tmp_path):
    config, file = published
    other = shutil.copytree(file.parent, tmp_path / "other") / file.name
    with pytest.raises(ValueError, match=r"c1 with seed 0 and greedy is in .*board.json and in .*other/board"):
        compare(OmegaConf.merge(config, {"published": [str(file), str(other)]}))


def test_captions_that_are_not_those_of_the_row(published):
    config, file = published
    path = file.parent / "predictions/tiny/c1_seed1_greedy.json.gz"
    entries = json.loads(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(json.dumps([entry | {"caption": "nothing"} for entry in entries]).encode()))
    with pytest.raises(
        ValueError, match=r"c1 with seed 1 and greedy have a CIDEr of 0.000 against the references here"
    ):
        compare(config)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"captions of c1 with seed 1 and greedy are neither in .*gz nor in "):
        compare(config)
