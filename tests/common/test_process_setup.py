"""Settings made before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from common import process_setup
from common.process_setup import keep_freed_memory, limit_threads, wait_passively

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")


@pytest.fixture
def environment(monkeypatch):
    """An environment without the settings, restored afterwards."""
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # remembered, so that it is restored
        del os.environ[name]
    return os.environ


def test_idle_threads_sleep_unless_the_user_says_how_they_wait(environment):
    environment["OMP_WAIT_POLICY"] = "ACTIVE"
    wait_passively()
    assert environment["OMP_WAIT_POLICY"] == "ACTIVE" and "GOMP_SPINCOUNT" not in environment
    del environment["OMP_WAIT_POLICY"]
    wait_passively()
    assert (environment["OMP_WAIT_POLICY"], environment["GOMP_SPINCOUNT"]) == ("PASSIVE", "1000")


def test_a_quota_limits_the_threads_unless_the_user_gives_their_number(environment, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(process_setup.joblib, "cpu_count", lambda: 64)
    limit_threads()
    assert "OMP_NUM_THREADS" not in environment
    monkeypatch.setattr(process_setup.joblib, "cpu_count", lambda: 3)
    limit_threads()
    assert environment["OMP_NUM_THREADS"] == "3"
    environment["OMP_NUM_THREADS"] = "5"
    limit_threads()
    assert environment["OMP_NUM_THREADS"] == "5"


def test_the_allocator_is_left_alone_where_the_user_set_it_up_or_there_is_no_glibc(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory()
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    for platform in ("win32", "darwin"):
        monkeypatch.setattr(sys, "platform", platform)
        assert not keep_freed_memory()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults():
    program = """
import resource, sys
import numpy as np
if sys.argv[1] == "keep":
    from common.process_setup import keep_freed_memory
    print(keep_freed_memory())
def touch():
    np.empty(16_000_000, np.float32).fill(1)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}

    def faults(mode: str) -> list[str]:
        run = [sys.executable, "-c", program, mode]
        return subprocess.run(run, env=clean, capture_output=True, text=True, check=True).stdout.split()

    kept = faults("keep")
    if kept[0] == "False":
        pytest.skip("no glibc")
    assert int(kept[1]) < 100 < int(faults("default")[0])
