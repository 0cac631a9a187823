"""A missing library is named with the command that installs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from common.extras import EXTRAS, explain_missing
from common.paths import ROOT
from training.tracking import Tracker


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("matplotlib.axes", r'^matplotlib is not installed: pip install -e "\.\[report\]"$'),
        ("torch", r"^torch is not installed: pip install -e \.$"),
    ],
)
def test_the_command_installs_the_extra(module, message):
    with pytest.raises(ImportError, match=message):
        raise explain_missing(ModuleNotFoundError(f"No module named {module!r}", name=module))


def test_training_and_options_need_no_extra():
    script = f"""
import sys
sys.modules |= dict.fromkeys({list(EXTRAS)})
import image_captioning.training_run, image_captioning.eval_coco, scripts.caption, scripts.eval_coco
from common.config import compose_config
for stage in ("image_captioning", "eval_coco", "prepare_data", "ddpm"):
    compose_config(stage)
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_a_tracker_without_its_library_is_refused_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r'^wandb is not installed: pip install -e "\.\[wandb\]"$'):
        Tracker("wandb")
