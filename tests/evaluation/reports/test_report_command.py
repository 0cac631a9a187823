"""scripts/report.py, and what it sends to the dashboard."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from PIL import Image

import evaluation.reports.report_command
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
    assert report(compose("report", f"comparison={folder}", "pictures=2")) == folder / "report.html"
    assert (folder / "report.html").read_text().count("<article") == 2 and "Report: " in capsys.readouterr().out
    for option in ("pictures=-1", "picture_side=8"):
        with pytest.raises(ValueError, match=f"{option} must be a whole number, at least"):
            report(compose("report", f"comparison={folder}", option))


def test_the_dashboard_gets_the_table_and_the_gallery(folder, compose, monkeypatch):
    logged = {}

    class Dashboard:
        def __init__(self, log_with):
            assert log_with == "wandb"

        def init_trackers(self, project, config, init_kwargs):
            logged["mode"] = init_kwargs["wandb"]["mode"]

        def get_tracker(self, name):
            return self

        def log_table(self, name, columns, data, step):
            logged[name] = (columns, data)

        def end_training(self):
            logged["ended"] = True

    monkeypatch.setattr(evaluation.reports.report_command, "Accelerator", Dashboard)
    monkeypatch.setitem(
        sys.modules, "wandb", SimpleNamespace(__spec__=True, Image=lambda image: ("picture", image.size))
    )
    report(compose("report", f"comparison={folder}", "picture_side=45", "tracker=wandb", "tracker.mode=offline"))
    assert logged["mode"] == "offline" and logged["ended"]
    columns, rows = logged["results"]
    assert columns[:2] == ["method", "CIDEr"] and rows[0][:2] == ["c3", "50.0"]
    columns, rows = logged["gallery"]
    assert columns == ["image", "id", "references", "c3", "c3 CIDEr"] and len(rows) == 4
    assert rows[0][0] == ("picture", (45, 30)) and rows[0][1] == "test_0" and rows[0][3:] == ["a dog", 50.0]
    assert rows[3][0] is None  # a picture that is not there
