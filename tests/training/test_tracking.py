"""Which mode a Weights & Biases run has."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.tracking import Tracker, start_tracker


class Recorder:
    """Stands for an Accelerator: notes what trackers are begun with."""

    def init_trackers(self, project, config, init_kwargs):
        self.options = init_kwargs["wandb"]


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
    start_tracker(accelerator, Tracker("wandb", mode=option), Path("runs/try"), {})
    assert accelerator.options["mode"] == mode and accelerator.options["name"] == "try"
