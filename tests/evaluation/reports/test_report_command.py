"""scripts/report.py, and what it sends to the dashboard."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from evaluation.captions.prediction_files import write_predictions
from evaluation.reports.report_command import report


@pytest.fixture
def folder(make_store, tmp_path):
    """A comparison of one evaluation in tmp_path/comparison; its pictures are there, but for one."""
    store = make_store(images=4, texts=20)
    for path in (store.path.parent / "images").iterdir():
        Image.new("RGB", (90, 60)).save(path, "PNG")
    ids = store.image_ids("test")
    (store.path.parent / "images/test_3.txt").unlink()
    write_predictions(tmp_path / "evaluation/predictions.json", dict.fromkeys(ids, "a dog"))
    (tmp_path / "evaluation/per_image.json").write_text(json.dumps({"image_ids": ids, "CIDEr": [0.5] * 4}))
    run = {
        "method": "c3", "seed": 0, "decoding_name": "greedy", "evaluation": f"{tmp_path}/evaluation", "images": 4,
        "caption_from": "images", "total_seconds": 1.0, "metrics": {"CIDEr": 50.0},
    }  # fmt: skip
    results = {
        "title": "T", "summary": "", "config": {}, "store_path": str(store.path), "split": "test", "seeds": [0],
        "minutes": 1.0, "notes": [], "runs": [run], "intervals": [],
    }  # fmt: skip
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison/results.json").write_text(json.dumps(results))
    return tmp_path / "comparison"


def test_the_report_of_a_folder(folder, compose, capsys):
    assert (
        report(compose("report", f"comparison={folder}", "pictures=2", "shown_decoding=greedy"))
        == folder / "report.html"
    )
    assert (folder / "report.html").read_text().count("<article") == 2 and "Report: " in capsys.readouterr().out
    for option in ("pictures=-1", "picture_side=8"):
        with pytest.raises(ValueError, match=f"{option} must be a whole number, at least"):
            report(compose("report", f"comparison={folder}", option))


def test_the_dashboard_gets_numbers_and_the_gallery(folder, compose, read_wandb):
    report(compose("report", f"comparison={folder}", "picture_side=45", "tracker=wandb", "tracker.mode=offline"))
    tables = read_wandb(folder)["tables"]
    columns, rows = tables["results"]
    assert columns[:2] == ["method", "CIDEr"] and rows[0][:2] == ["c3", 50.0]
    columns, rows = tables["runs"]
    assert dict(zip(columns, rows[0], strict=True)) == {
        "method": "c3", "seed": 0, "decoding": "greedy", "CIDEr": 50.0, "seconds": 1.0, "captions/s": None,
    }  # fmt: skip
    columns, rows = tables["gallery"]
    assert columns == ["image", "id", "references", "c3", "c3 CIDEr"] and len(rows) == 4
    picture = rows[0][0]
    assert (picture["width"], picture["height"]) == (45, 30) and rows[0][1] == "test_0" and rows[0][3:] == ["a dog", 50]
    assert rows[3][0] is None  # a picture that is not there


def test_the_dashboard_gets_a_sweeps_table_and_figure(compose, tmp_path, read_wandb):
    for steps in (1, 5):
        scores = {
            "metrics": {"CIDEr": 100.0 / steps},
            "inputs": {"image_side": {"image_steps": steps}, "split": "test"},
        }
        (tmp_path / f"steps{steps}").mkdir()
        (tmp_path / f"steps{steps}/scores.json").write_text(json.dumps(scores))
    options = (f"sweep={tmp_path}/steps*", f"output={tmp_path}/out", "tracker=wandb", "tracker.mode=offline")
    folder = report(compose("report", *options))
    columns, rows = read_wandb(folder)["tables"]["sweep"]
    assert columns == ["alignment.image_steps", "CIDEr", "CIDEr sd", "seeds"]
    assert rows == [[1, 100.0, None, 1], [5, 20.0, None, 1]]
    assert list((folder / "wandb").glob("offline-run-*/files/media/images/sweep_figure*.png"))
