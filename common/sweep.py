"""The jobs of a command line: one, or with -m one for each combination of values."""

from __future__ import annotations

import os
import sys
import traceback

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from common.hints import with_hint


class Jobs:
    """Counts a command line's jobs and those that failed; with -m the others still run."""

    def __init__(self):
        self._count, self._failed = 0, []

    def begin(self) -> None:
        """Note that a job begins."""
        self._count += 1

    def fail(self, error: Exception, ours: bool) -> None:
        """Report at once what ended the job; without -m, end the program with 1.

        Args:
            ours: whether the error is a mistake of the program, whose traceback is shown.
        """
        if ours:
            traceback.print_exception(error)
        elif os.environ.get("DIFFUSION_BRIDGE_TRACEBACK"):
            if not _is_sweep():
                raise error
            traceback.print_exception(error)
        if not _is_sweep():
            if not ours:
                print(f"Error: {with_hint(error)}", file=sys.stderr)
            sys.exit(1)
        job = f"job {self._count} ({' '.join(HydraConfig.get().overrides.task)})"
        self._failed.append(f"{job}: {with_hint(error) if not ours else type(error).__name__}")
        print(f"Error in {job}: {with_hint(error)}. The other jobs still run", file=sys.stderr)

    def close(self) -> None:
        """After the last job: end the program with 1 if any failed, naming them."""
        if self._failed:
            print(f"\n{len(self._failed)} of {self._count} jobs failed:", *self._failed, sep="\n  ", file=sys.stderr)
            sys.exit(1)


def _is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN
