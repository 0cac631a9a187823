"""What `make` installs: with CUDA or without, the newest versions or the locked ones; and which options it passes on.

Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from common.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

PUBLIC_INDEX = "https://download.pytorch.org/whl/cpu"
PYTHON = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python";;
  "-c import torch"*) exit {torch_has_cuda};;
esac
"""


def make(*arguments: str, dry: bool = True) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key not in ("TORCH", "TORCH_INDEX", "LOCKED")}
    command = ["make", *(["--dry-run"] if dry else []), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], '-m pip install --quiet --editable ".[demo,photos,dev]"'),
        (["TORCH=cpu"], f'--extra-index-url {PUBLIC_INDEX} --editable ".[demo,photos,dev]"'),
        (["TORCH=cpu", "TORCH_INDEX=file:///mirror"], '--extra-index-url file:///mirror --editable ".[demo'),
        (["TORCH_INDEX=file:///mirror"], '--extra-index-url file:///mirror --editable ".[demo'),
        (["LOCKED=1"], '--constraint constraints.txt --editable ".[demo,photos,dev]"'),
        (["TORCH=cpu", "LOCKED=1"], f"--extra-index-url {PUBLIC_INDEX} --constraint constraints.txt --editable"),
    ],
)
@pytest.mark.parametrize("target", ["demo", "test", "docs"])
def test_one_run_of_pip_installs_torch_and_the_rest(tmp_path, options, expected, target):
    done = make(f"VENV={tmp_path}/.venv", target, *options)
    assert done.returncode == 0, done.stderr
    installs = [re.sub(" +", " ", line) for line in done.stdout.splitlines() if "--editable" in line]
    assert expected in installs[0]
    assert len(installs) == (2 if target == "docs" else 1)
    assert all(("--extra-index-url" in line) == any("TORCH" in option for option in options) for line in installs)


def test_an_unknown_build_is_refused():
    done = make("demo", "TORCH=gpu")
    assert done.returncode == 2 and "TORCH=gpu must be cpu" in done.stderr


@pytest.mark.parametrize("torch_has_cuda", [0, 1])
def test_an_environment_that_has_cuda_already_is_refused(tmp_path, torch_has_cuda):
    python, log, venv = tmp_path / "python", tmp_path / "log", tmp_path / ".venv"
    python.write_text(PYTHON.format(log=log, torch_has_cuda=torch_has_cuda))
    python.chmod(0o755)
    done = make("demo", f"PYTHON={python}", f"VENV={venv}", "TORCH=cpu", "TORCH_INDEX=file:///mirror", dry=False)
    calls = log.read_text().splitlines()
    assert calls[2] == "-m pip install --quiet --extra-index-url file:///mirror --editable .[demo,photos,dev]"
    if torch_has_cuda:
        assert done.returncode == 2 and "has torch with CUDA from before" in done.stdout
    else:
        assert done.returncode == 0 and calls[-1] == "scripts/demo.py"
    make("demo", f"PYTHON={python}", f"VENV={venv}", dry=False)  # what is there is not installed again
    assert sum("pip install" in line for line in log.read_text().splitlines()) == 2


def write_wheel(index: Path, name: str, version: str, requires: str = "") -> None:
    """A wheel without content, in a folder that pip reads as an index."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    file, info = f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / file, "w") as wheel:
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    links = "".join(f'<a href="{path.name}">{path.name}</a>' for path in sorted(folder.glob("*.whl")))
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")


def test_pip_prefers_the_builds_of_torchs_index(tmp_path):
    """Stand-ins: an index like PyPI, whose torch needs CUDA, and one like PyTorch's."""
    write_wheel(tmp_path / "pypi", "torch", "99.1", "nvidia-cudnn-cu13")
    write_wheel(tmp_path / "pypi", "torchvision", "98.1", "torch==99.1")
    write_wheel(tmp_path / "pypi", "nvidia_cudnn_cu13", "1.0")
    write_wheel(tmp_path / "cpu", "torch", "99.0+cpu")
    write_wheel(tmp_path / "cpu", "torch", "99.1+cpu")
    write_wheel(tmp_path / "cpu", "torchvision", "98.1+cpu", "torch==99.1")
    (tmp_path / "constraints.txt").write_text("torch==99.1\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += ["--index-url", f"file://{tmp_path}/pypi", "--extra-index-url", f"file://{tmp_path}/cpu"]
    command += ["--constraint", f"{tmp_path}/constraints.txt", "torch>=2.6", "torchvision>=0.21"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**environment, "PIP_CONFIG_FILE": os.devnull}, check=True
    )
    chosen = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
    assert {(part["name"], part["version"]) for part in chosen} == {("torch", "99.1+cpu"), ("torchvision", "98.1+cpu")}


def test_the_locked_versions_are_all_there_and_allowed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = {name: Requirement(line) for line in project["dependencies"] for name in [Requirement(line).name]}
    waiting = ["demo", "photos", "dev", "docs"]
    while waiting:
        for requirement in map(Requirement, extras[waiting.pop()]):
            if requirement.name == project["name"]:
                waiting += requirement.extras
            else:
                asked[requirement.name] = requirement
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    locked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions: dict[str, list[str]] = {}
    for requirement in locked:
        [pin] = requirement.specifier
        assert pin.operator == "==" and "+" not in pin.version, requirement
        versions.setdefault(_plain(requirement.name), []).append(pin.version)
    for name, requirement in asked.items():
        assert _plain(name) in versions, f"constraints.txt lacks {name}: run make lock"
        for version in versions[_plain(name)]:
            assert version in requirement.specifier, f"{name}=={version} of constraints.txt: run make lock"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def options_of(*arguments: str) -> list[str]:
    """Those that the script would be called with."""
    done = make(*arguments)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "scripts/" in line]
    return shlex.split(line)[2:]


@pytest.mark.parametrize("target", ["demo", "web"])
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["draw_with=null"],
        ["checkpoint=sounds", "checkpoints=[a,b c]", "encoder.precision=fp32", "port=8000"],
        ["modality=sound", "seeds=[0,1]"],
        ["empty=", "name=it's ${here} #1; $(touch nothing) `touch nothing`"],
    ],
)
def test_every_option_reaches_the_script_as_it_is(target, options):
    assert options_of(target, *options) == sorted(options)
    assert options_of(target, *options, "ARGS=--cfg job", "TORCH=cpu", "LOCKED=1")[-2:] == ["--cfg", "job"]
    assert set(options_of(target, *options, "WORKERS=2")) == set(options)


def test_the_usual_target_takes_options_too():
    assert options_of("modality=video") == ["modality=video"]


@pytest.mark.parametrize(
    ("arguments", "named"), [(["lint", "x=1"], "x="), (["test", "ARGS=-x"], "ARGS="), (["demo", "test", "x=1"], "x=")]
)
def test_other_targets_refuse_options_in_a_sentence(arguments, named):
    done = make(*arguments)
    assert done.returncode == 2 and f"{named} says nothing to make {arguments[-2]}" in done.stderr
