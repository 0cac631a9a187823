"""Several processes that share one preparation: started by torchrun or `accelerate launch`, on one machine or more."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar, cast

import torch
from accelerate import PartialState

from common.device import best_device
from common.hints import with_hint

Result = TypeVar("Result")


class Processes:
    """This process among those that were started together; the only one where none were.

    They talk over gloo, with GPUs too, since they only report errors to one another.

    Attributes:
        rank: this process's number, from 0, the main one's.
        count: how many there are.
    """

    def __init__(self):
        accelerated = best_device().type != "cpu"
        gloo = {"backend": "gloo"} if accelerated and "LOCAL_RANK" in os.environ else {}
        # One process may wait for another's whole share: hours.
        state = PartialState(cpu=not accelerated, timeout=timedelta(days=30), **gloo)
        self.rank: int = state.process_index
        self.count: int = state.num_processes
        atexit.unregister(_leave_group)
        if self.count > 1:
            atexit.register(_leave_group)

    def run_on_main(self, work: Callable[[], object]) -> None:
        """Do `work` in the main process alone, and wait for it in the others. Errors are as in `run_everywhere`."""
        self.run_everywhere(work if self.rank == 0 else lambda: None)

    def run_everywhere(self, work: Callable[[], Result]) -> Result:
        """Do `work` in every process, wait until all are done, and return this process's result.

        An error in one process is raised there, and in the others, once they are done, as a ValueError that reports it.
        """
        if self.count == 1:
            return work()
        result, error = None, None
        try:
            result = work()
        except Exception as caught:
            error = caught
        reason = None if error is None else with_hint(error)
        if reason is not None:
            print(f"Process {self.rank} failed, the others finish what they are doing: {reason}", file=sys.stderr)
        reports: list[str | None] = [None] * self.count
        try:
            torch.distributed.all_gather_object(reports, reason and f"{type(error).__name__}: {reason}")
        except RuntimeError as lost:
            raise error or ValueError(
                f"Process {self.rank} of {self.count} lost the others, one of which must have been killed: run the "
                "same command again, which goes on from what is done"
            ) from lost
        if error is not None:
            raise error
        failed = [f"process {rank}: {message}" for rank, message in enumerate(reports) if message is not None]
        if failed:
            raise ValueError(f"Stopped because of {failed[0]}")
        return cast(Result, result)


def _leave_group() -> None:
    """At exit: gloo's threads abort a process that ends while its group stands. Nobody is waited for."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
