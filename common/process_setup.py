"""Settings of the process that must be made before torch is imported. This module imports nothing heavy."""

from __future__ import annotations

import ctypes
import os
import sys

import joblib

SPIN_COUNT = "1000"  # some microseconds
TRIM_THRESHOLD_BYTES = 1 << 30  # free memory at the heap's end that stays with the process
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # mallopt(3)
_ALLOCATOR_SETTINGS = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def set_up_process() -> None:
    """Make the settings below. The user's own settings stay; a second call changes nothing."""
    wait_passively()
    limit_threads()
    keep_freed_memory()
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "30")  # seconds: progress bars must not fill a log


def wait_passively() -> None:
    """Let idle OpenMP threads sleep soon, because spinning threads starve other processes on the cores.

    OpenMP libraries read the environment once, when they are loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        # GNU's library: with no spinning at all a small operation waits for the other threads to wake up.
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def limit_threads() -> None:
    """Start no more OpenMP threads than `taskset` and the CPU quota of a container allow; OMP_NUM_THREADS wins.

    OpenMP itself knows nothing of quotas.
    """
    allowed = joblib.cpu_count()
    if "OMP_NUM_THREADS" not in os.environ and allowed < (os.cpu_count() or 1):
        os.environ["OMP_NUM_THREADS"] = str(allowed)


def keep_freed_memory() -> bool:
    """Ask glibc to keep the memory of freed tensors. By default it goes back to the kernel, and the next tensor of the
    same size costs a page fault per 4 KiB.

    Returns False where there is no glibc, or where the environment sets the allocator up.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _ALLOCATOR_SETTINGS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES))
