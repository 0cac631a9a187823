"""How a run folder starts: whole files only, nothing left of earlier runs, nothing rewritten needlessly."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from training.run_folder import FINISHED, METRICS, RESUME, TABLES, finish_run, open_run

CONFIG = OmegaConf.create({"seed": 0, "loop": {"steps": 3, "learning_rate": 1e-3}, "tracker": {"name": "none"}})


def test_a_new_run_finds_no_figures_of_one_killed_before_its_first_checkpoint(tmp_path):
    open_run(tmp_path, CONFIG, overwrite=False)
    for name in (METRICS, TABLES):
        (tmp_path / name).write_text('{"step": 1}\n')
    assert open_run(tmp_path, CONFIG, overwrite=False) == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("left", [RESUME, FINISHED])
def test_a_state_without_its_configuration_is_not_resumed(tmp_path, left):
    (tmp_path / left).write_text("{}")
    assert open_run(tmp_path, CONFIG, overwrite=False) == "new"
    assert open_run(tmp_path, CONFIG, overwrite=False) == "new"


def test_overwrite_starts_afresh_and_leaves_no_partial_files(tmp_path):
    open_run(tmp_path, CONFIG, overwrite=False)
    (tmp_path / METRICS).write_text('{"step": 1}\n')
    (tmp_path / "model.safetensors").write_bytes(b"of the earlier run")
    finish_run(tmp_path, {"steps": 3})
    changed = OmegaConf.merge(CONFIG, {"seed": 1})
    assert open_run(tmp_path, changed, overwrite=True) == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert OmegaConf.load(tmp_path / "config.yaml").seed == 1


def test_weights_that_no_run_made_are_not_replaced_unasked(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"an export")
    with pytest.raises(ValueError, match=r"holds model\.safetensors, and no run that made it: .*overwrite=true"):
        open_run(tmp_path, CONFIG, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]
    assert open_run(tmp_path, CONFIG, overwrite=True) == "new" and not weights.exists()


def test_the_configuration_is_rewritten_only_if_it_changed(tmp_path):
    open_run(tmp_path, CONFIG, overwrite=False)
    (tmp_path / RESUME).write_bytes(b"")
    written = (tmp_path / "config.yaml").stat()
    assert open_run(tmp_path, CONFIG, overwrite=False) == "unfinished"
    assert (tmp_path / "config.yaml").stat() == written
    assert open_run(tmp_path, OmegaConf.merge(CONFIG, {"tracker": {"name": "wandb"}}), overwrite=False) == "unfinished"
    assert OmegaConf.load(tmp_path / "config.yaml").tracker.name == "wandb"


def test_a_refused_run_leaves_the_folder_as_it_was(tmp_path):
    open_run(tmp_path, CONFIG, overwrite=False)
    (tmp_path / RESUME).write_bytes(b"")
    (tmp_path / METRICS).write_text('{"step": 1}\n')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"seed was 0 there and is 1 now"):
        open_run(tmp_path, OmegaConf.merge(CONFIG, {"seed": 1}), overwrite=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
