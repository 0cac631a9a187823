"""Commands answer --help and misspelt options before they import anything heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "open_clip",
    "matplotlib",
    "scipy",
    "wandb",
    "accelerate",
    "gradio",
)
COMMANDS = sorted(
    [f"scripts.{path.stem}" for path in (ROOT / "scripts").glob("*.py")]
    + [f"{path.parent.name}.train" for path in ROOT.glob("*/train.py")]
)


def test_no_command_imports_torch_to_read_its_options():
    program = f"""
import sys
from importlib import import_module
from common.config import compose_config, explain
from common.options import fit_options

for name in {COMMANDS}:
    import_module(name)
    stage = name.split(".")[0] if name.endswith(".train") else name.split(".")[1]
    try:
        compose_config(stage, "nosuchoption=1")
    except ValueError as error:
        assert "nosuchoption" in str(error), error
    else:
        raise AssertionError(name)
    print(name, *[heavy for heavy in {HEAVY} if heavy in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split("\n")[:-1] == COMMANDS, done.stdout + done.stderr
    assert len(COMMANDS) == 29
