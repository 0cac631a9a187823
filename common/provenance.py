"""What a published number must be traced back by: command, commit, date, machine and versions."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

from common.device import best_device, choose_precision, device_name


def run_facts() -> dict[str, str]:
    """Facts of this process: command, commit (with '+changes' if the checkout has any), date, machine, versions."""
    cpu, device = torch.device("cpu"), best_device()
    accelerator = device_name(device) if device.type != "cpu" else "no GPU"
    packages = ("torch", "transformers", "open_clip_torch", "denoising-diffusion-pytorch")
    return {
        "command": _command(),
        "commit": _commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} CPU cores ({device_name(cpu)}, {platform.machine()}), {accelerator}",
        "auto_precision": choose_precision("auto", device),
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
        ),
    }


def _command() -> str:
    """The command line as it was typed, without the machine's folders."""
    program, *arguments = sys.orig_argv
    here = Path.cwd()
    shown = [str(Path(word).relative_to(here)) if Path(word).is_relative_to(here) else word for word in arguments]
    return shlex.join([Path(program).name, *shown])


def _commit() -> str:
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
