"""Run folders, command-line errors."""

from __future__ import annotations

import json
import signal
import sys

import hydra
import pytest
from omegaconf import OmegaConf

from common.cli import command, quote_paths
from common.config import compose_config
from training.run_folder import RESUME, TABLES, finish_run, first_difference, open_run, tables_over_time


def test_a_folder_is_new_then_unfinished_then_finished(tmp_path):
    config = OmegaConf.create({"seed": 0, "loop": {"steps": 3}, "output_dir": str(tmp_path)})
    assert open_run(tmp_path, config, overwrite=False) == "new"
    (tmp_path / RESUME).write_bytes(b"")
    assert open_run(tmp_path, config, overwrite=False) == "unfinished"
    finish_run(tmp_path, {"steps": 3})
    assert open_run(tmp_path, config, overwrite=False) == "finished"
    assert open_run(tmp_path, config, overwrite=True) == "new"


def test_an_option_that_came_later_and_is_off_makes_no_other_run_of_an_earlier_one():
    before = {"loop": {"steps": 3}, "decoder": {"name": "demo"}}
    now = {"loop": {"steps": 3, "compile": False}, "decoder": {"name": "demo"}, "init_from": None}
    assert first_difference(before, now) is None
    assert first_difference(before, {**before, "init_from": "run"}) == "init_from was None there and is 'run' now"
    assert "loop.steps was 3 there and is None now" in first_difference(before, {**before, "loop": {}})


def test_another_configuration_is_refused_naming_the_difference(tmp_path):
    config = OmegaConf.create({"loop": {"steps": 3}, "output_dir": "a"})
    open_run(tmp_path, config, overwrite=False)
    finish_run(tmp_path, {})
    moved = OmegaConf.create({"loop": {"steps": 3}, "output_dir": "b"})
    assert open_run(tmp_path, moved, overwrite=False) == "finished"
    changed = OmegaConf.create({"loop": {"steps": 4}, "output_dir": "a"})
    with pytest.raises(ValueError, match=r"loop.steps was 3 there and is 4 now.*overwrite=true"):
        open_run(tmp_path, changed, overwrite=False)


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError("bad x"), 1), (FileNotFoundError("no y"), 1), (KeyboardInterrupt("at 5"), 130)]
)
def test_users_errors_become_one_sentence_and_an_exit_code(capsys, monkeypatch, tmp_path, error, code):
    def run(config):
        raise error

    monkeypatch.setattr(sys, "argv", ["prog", f"output_dir={tmp_path}"])
    with pytest.raises(SystemExit) as stopped:
        command("ddpm", run)()
    assert stopped.value.code == code
    assert str(error) in capsys.readouterr().err


@pytest.mark.parametrize("interrupts", [signal.default_int_handler, signal.SIG_IGN])  # ignored in the background
def test_an_end_by_sigterm_is_an_interrupt(monkeypatch, tmp_path, interrupts):
    monkeypatch.setattr(sys, "argv", ["prog", f"output_dir={tmp_path}"])
    before, own = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, interrupts)
    try:
        with pytest.raises(SystemExit, match="130"):
            command("ddpm", lambda config: signal.raise_signal(signal.SIGTERM))()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, own)


def test_values_that_are_more_than_names_are_left_to_hydra(monkeypatch):
    arguments = [
        "prog",
        "store=${dataset.root}/x",
        "checkpoint=a,b",
        "predictions=null",
        "seed=1",
        "output_dir=a b (1)",
    ]
    monkeypatch.setattr(sys, "argv", list(arguments))
    quote_paths()
    assert sys.argv == [*arguments[:-1], "output_dir='a b (1)'"]


def test_a_number_of_pictures_is_none_of_their_folders(monkeypatch):
    arguments = ["prog", "pictures=120", "pictures=my folder", "checkpoint=[a]"]
    monkeypatch.setattr(sys, "argv", list(arguments))
    quote_paths()
    assert sys.argv == ["prog", "pictures=120", "pictures='my folder'", "checkpoint=[a]"]


def test_configs_compose_within_a_running_command_too(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(sys, "argv", ["prog", f"output_dir={tmp_path}"])
    command("ddpm", lambda config: seen.append(compose_config("image_captioning", "seed=7").seed))()
    assert seen == [7]
    with pytest.raises(ValueError, match=r"configs/ddpm.yaml with no_such_key=1"):
        compose_config("ddpm", "no_such_key=1")


@pytest.mark.parametrize("name", ["my file (1).json", "it's.json", "a=b.json", "ünï,cödé.json", "[x].json"])
def test_file_arguments_reach_hydra_whatever_their_name(tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prog", f"predictions={name}", "split=test"])
    quote_paths()
    (tmp_path / "c.yaml").write_text("predictions: null\nsplit: null\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        config = hydra.compose("c", sys.argv[1:])
    assert config.predictions == name and config.split == "test"


@pytest.mark.parametrize(
    "key", ["to", "evaluation", "encoder.pretrained", "encoder.heads", "model.features_dir", "decoder.pretrained"]
)
def test_every_option_that_is_a_path_takes_any_name(tmp_path, monkeypatch, key):
    monkeypatch.setattr(sys, "argv", ["prog", f"{key}=my folder (1)/a=b"])
    quote_paths()
    OmegaConf.save(OmegaConf.from_dotlist([f"{key}=none"]), tmp_path / "c.yaml")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        config = hydra.compose("c", sys.argv[1:])
    assert OmegaConf.select(config, key) == "my folder (1)/a=b"


def test_tables_of_all_evaluations_are_one_below_the_other(tmp_path):
    for step, captions in ((5, [["a dog", "a"], ["a cat", "the"]]), (10, [["a dog", "a dog"], ["a cat", "a cat"]])):
        with (tmp_path / TABLES).open("a") as file:
            line = {"step": step, "samples": {"columns": ["reference", "caption"], "rows": captions}}
            file.write(json.dumps(line) + "\n")
    columns, rows = tables_over_time(tmp_path)["samples"]
    assert columns == ["step", "reference", "caption"]
    assert rows[0] == [5, "a dog", "a"] and rows[3] == [10, "a cat", "a cat"] and len(rows) == 4


@pytest.mark.parametrize(("before", "now"), [("bf16", "auto"), ("fp32", "auto"), ("no", "fp32"), ("fp32", "no")])
def test_what_auto_became_on_other_hardware_is_no_other_configuration(before, now):
    assert first_difference({"loop": {"precision": before}}, {"loop": {"precision": now}}) is None
    assert first_difference({"precision": before}, {"precision": now}) is None


@pytest.mark.parametrize("before", ["bf16", "auto"])
def test_another_precision_that_is_asked_for_is_another_configuration(before):
    assert f"precision was '{before}'" in first_difference({"precision": before}, {"precision": "fp32"})
