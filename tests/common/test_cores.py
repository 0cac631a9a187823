"""Work over the cores gives the same, in the same order, as in one process."""

from __future__ import annotations

import os

import joblib
import pytest

from common.cores import map_over_cores


@pytest.mark.parametrize("worth_it", [False, True])
def test_results_come_in_order(monkeypatch, worth_it):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    with map_over_cores(worth_it, chunksize=3) as each:
        assert list(each(abs, range(-10, 0))) == list(range(10, 0, -1))


def test_processes_of_torchrun_share_the_cores(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with map_over_cores(True) as each:
        assert each is map and len({*each(lambda _: os.getpid(), range(3))}) == 1
