"""One process's work, spread over the cores of its machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

import joblib


@contextmanager
def map_over_cores(worth_it: bool, chunksize: int = 1) -> Iterator[Callable[..., Iterator[Any]]]:
    """A `map` whose function runs in as many processes as there are cores for us; in this process if not `worth_it`.

    Processes that torchrun started on the machine share its cores.

    Args:
        chunksize: items that a process takes at a time.
    """
    workers = max(1, joblib.cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))) if worth_it else 1
    if workers == 1:
        yield map
        return
    # Spawned, since torch's threads do not survive a fork, and Windows has none.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield partial(pool.map, chunksize=chunksize)
