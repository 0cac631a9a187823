"""What dashboards get of a training, read from what they write."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from training.loop import Evaluation, Loop, LoopConfig
from training.tracking import Tracker, send_results, start_tracker

TABLE = ["method", "CIDEr", "picture"], [["c1", 10.5, Image.new("RGB", (6, 4), "red")], ["a|b", None, None]]


class Learning:
    """One weight that learns to be 1; its captions change at each evaluation."""

    better: ClassVar = {"error": "lower"}

    def __init__(self):
        self.evaluated = 0

    def loss(self, model, random):
        rows = random.normal_like(model.weight.new_zeros(4, 1))
        return {"loss": (model(rows) - rows).pow(2).mean()}

    def evaluate(self, model):
        self.evaluated += 1
        row = ["a dog", f"caption {self.evaluated}"]
        return Evaluation({"error": 1 / self.evaluated}, {"samples": (["reference", "caption"], [row])})

    def save(self, model, folder):
        pass


def fit(folder: Path, tracker: Tracker) -> None:
    folder.mkdir()
    OmegaConf.save({"alignment": {"name": "c3", "steps": ["Center"]}, "validation_split": None}, folder / "config.yaml")
    config = LoopConfig(steps=4, batch_size=4, learning_rate=0.1, log_every=1, evaluate_every=2)
    Loop(config, folder, tracker).fit(nn.Linear(1, 1, bias=False), Learning())


class Recorder:
    """Stands for an Accelerator: notes what trackers are begun with."""

    def init_trackers(self, project, config, init_kwargs):
        self.project, self.options = project, init_kwargs["wandb"]


@pytest.mark.parametrize(
    ("option", "environment", "key", "mode"),
    [
        ("disabled", "online", "key", "disabled"),
        (None, "disabled", "key", "disabled"),
        (None, "", "key", "online"),
        (None, "", "", "offline"),
    ],
)
def test_the_option_then_wandb_mode_then_a_known_key_choose_the_mode(
    tmp_path, monkeypatch, option, environment, key, mode
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", environment)
    monkeypatch.setenv("WANDB_API_KEY", key)
    accelerator = Recorder()
    start_tracker(accelerator, Tracker("wandb", mode=option), Path("runs/try"), {}, "evaluation")
    assert accelerator.project == "diffusion-bridge"
    assert accelerator.options == {"mode": mode, "name": "try", "dir": "runs/try", "job_type": "evaluation"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "mlflow"}, r"tracker\.name='mlflow' must be 'none', 'wandb', 'tensorboard' or 'trackio'"),
        ({"name": "wandb", "mode": "ofline"}, r"tracker\.mode='ofline' must be 'online', 'offline' or 'disabled'"),
        ({"name": "tensorboard", "project": "x"}, r"project=x is an option of wandb and trackio, not of tracker=tens"),
        (
            {"name": "trackio", "mode": "offline"},
            r"mode=offline is an option of wandb, not of tracker=trackio",
        ),
    ],
)
def test_an_unknown_tracker_and_the_options_of_another_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Tracker(**options)


def test_wandb_has_the_runs_options_and_the_captions_of_all_evaluations(tmp_path, monkeypatch, read_wandb):
    monkeypatch.setenv("WANDB_MODE", "offline")
    fit(tmp_path / "run", Tracker("wandb"))
    sent = read_wandb(tmp_path / "run")
    assert sent["kind"] == "training"
    assert sent["options"]["alignment"] == {"name": "c3", "steps": ["Center"]}
    assert sent["metrics"]["error"] == 0.5 and sent["metrics"]["_step"] == 4 and sent["metrics"]["loss"] > 0
    columns, rows = sent["tables"]["samples"]
    assert columns == ["step", "reference", "caption"]
    assert rows == [[2, "a dog", "caption 1"], [4, "a dog", "caption 2"]]


def test_wandb_tables_have_numbers_and_pictures(tmp_path, monkeypatch, read_wandb):
    monkeypatch.setenv("WANDB_MODE", "offline")
    figure = {"figure": Image.new("RGB", (8, 5))}
    send_results(Tracker("wandb"), tmp_path, {"a": 1}, "comparison", {"CIDEr": 2.0}, {"results": TABLE}, figure)
    sent = read_wandb(tmp_path)
    rows = sent["tables"]["results"][1]
    assert rows[0][:2] == ["c1", 10.5] and rows[1] == ["a|b", None, None]
    assert rows[0][2]["width"] == 6 and sent["pictures"] == [rows[0][2]["path"]]
    assert sent["metrics"]["CIDEr"] == 2.0 and sent["metrics"]["figure"]["count"] == 1
    assert sent["kind"] == "comparison" and sent["options"]["a"] == 1


def test_tensorboard_has_curves_options_captions_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(tmp_path / "run", Tracker("tensorboard"))
    events = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [(event.step, event.value) for event in events.Scalars("error")] == [(2, 1.0), (4, 0.5)]
    texts = events.Tensors("samples/text_summary")
    assert [event.step for event in texts] == [2, 4]
    written = texts[1].tensor_proto.string_val[0].decode()
    assert "| a dog" in written and "caption 2" in written and "caption 1" not in written
    [options] = (tmp_path / "run/tensorboard").glob("*/hparams.yml")
    options = OmegaConf.load(options)
    assert options["alignment.name"] == "c3" and options["alignment.steps"] == "['Center']"
    assert options["validation_split"] == "null"

    send_results(Tracker("tensorboard"), tmp_path / "sent", {}, "comparison", {"CIDEr": 2.0}, {"results": TABLE})
    events = EventAccumulator(str(tmp_path / "sent/tensorboard")).Reload()
    [picture] = events.Images("results/picture 0")
    assert (picture.width, picture.height) == (6, 4) and events.Scalars("CIDEr")[0].value == 2.0
    assert r"a\|b" in events.Tensors("results/text_summary")[0].tensor_proto.string_val[0].decode()


def test_trackio_has_curves_and_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported, which no other test does
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage  # pyright: ignore[reportMissingImports]

    fit(tmp_path / "run", Tracker("trackio", project="tries"))
    logs = SQLiteStorage.get_logs("tries", "run")
    assert [log["loss"] > 0 for log in logs if "loss" in log] == [True] * 4
    assert [log["error"] for log in logs if "error" in log] == [1.0, 0.5]
    tables = [log["samples"]["_value"] for log in logs if "samples" in log]
    assert [row["caption"] for row in tables[-1]] == ["caption 1", "caption 2"]
    assert SQLiteStorage.get_run_config("tries", "run")["alignment"]["name"] == "c3"
    send_results(Tracker("trackio", "tries", "sent"), tmp_path, {}, "comparison", {}, {"results": TABLE})
    [row] = [log["results"]["_value"][0] for log in SQLiteStorage.get_logs("tries", "sent") if "results" in log]
    assert row["CIDEr"] == 10.5 and (tmp_path / "trackio/media" / row["picture"]["file_path"]).is_file()
