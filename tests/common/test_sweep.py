"""Sweeps: a job that fails is told, and the others run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from common.cli import command
from common.errors import MissingModel


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    """Run `run` as the command ddpm with these arguments, in a folder of its own; returns the exit code, 0 for none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def start(run, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ddpm", *arguments])
        try:
            command("ddpm", run)()
        except SystemExit as end:
            return end.code
        return 0

    return start


def failing(errors: dict[int, BaseException], done: list[int]):
    def run(config):
        done.append(config.seed)
        if config.seed in errors:
            raise errors[config.seed]

    return run


def test_the_jobs_after_a_bad_value_run_and_all_that_failed_is_told_at_the_end(sweep, capsys):
    done = []
    errors = {1: ValueError("seed 1 will not do"), 3: RuntimeError("a mistake of ours"), 4: FileNotFoundError("no x")}
    assert sweep(failing(errors, done), "-m", "seed=0,1,2,3,4,5", "name=n") == 1
    assert done == [0, 1, 2, 3, 4, 5]
    told = capsys.readouterr().err
    assert "Error in job 2 (seed=1 name=n): seed 1 will not do" in told and "Traceback" in told
    assert told.rstrip().endswith(
        "3 of 6 jobs failed:\n  job 2 (seed=1 name=n): seed 1 will not do\n  job 4 (seed=3 name=n): RuntimeError\n"
        "  job 5 (seed=4 name=n): no x"
    )


def test_what_failed_is_told_with_its_hint(sweep, capsys):
    errors = {1: MissingModel("model", Path("x"), ["config.json"], "ddpm")}
    assert sweep(failing(errors, []), "-m", "seed=0,1") == 1
    assert capsys.readouterr().err.count("(config.json missing): run python -m ddpm.train dataset=...") == 2


def test_a_value_out_of_range_fails_its_job_alone(sweep, capsys):
    done = []
    assert sweep(lambda config: done.append(config.diffusion.timesteps), "-m", "diffusion.timesteps=10,0,20") == 1
    assert done == [10, 20]
    assert "diffusion.timesteps=0 must be a whole number, at least 1" in capsys.readouterr().err


def test_a_sweep_without_failures_is_silent_and_ends_with_0(sweep, capsys):
    done = []
    assert sweep(failing({}, done), "-m", "seed=0,1") == 0
    assert done == [0, 1] and "failed" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["-m", "seed=0,1,2"], ["seed=1"]])
def test_an_interrupt_ends_the_whole_sweep(sweep, capsys, arguments):
    done = []
    assert sweep(failing({1: KeyboardInterrupt("step 3 is saved")}, done), *arguments) == 130
    assert done[-1] == 1 and "Interrupted. step 3 is saved" in capsys.readouterr().err


def test_the_whole_traceback_can_be_asked_for(sweep, capsys, monkeypatch):
    monkeypatch.setenv("DIFFUSION_BRIDGE_TRACEBACK", "1")
    done = []
    assert sweep(failing({0: ValueError("bad")}, done), "-m", "seed=0,1") == 1
    assert done == [0, 1] and "Traceback" in capsys.readouterr().err


def test_a_misspelt_option_is_refused_before_any_job(sweep, capsys):
    done = []
    assert sweep(failing({}, done), "-m", "seed=0,1", "loop.step=3") == 1
    assert not done and "There is no option loop.step, but loop.steps" in capsys.readouterr().err
