"""What every command line shares: one clear sentence for bad input, and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

USER_ERRORS = (ValueError, FileNotFoundError, NotADirectoryError, PermissionError, ImportError)


def entry_point(main: Callable) -> Callable:
    """Decorate a stage's function: bad input prints one sentence and exits with 1, an interrupt exits with 130.

    `DIFFUSION_BRIDGE_TRACEBACK=1` shows the whole traceback instead.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            print(f"\nInterrupted. {interrupt}".rstrip(), file=sys.stderr)
            sys.exit(130)
        except USER_ERRORS as error:
            if os.environ.get("DIFFUSION_BRIDGE_TRACEBACK"):
                raise
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(1)

    return wrapped


def quote_file_arguments(*keys: str) -> None:
    """Quote the values of `key=FILE` in sys.argv for Hydra, whose grammar refuses many names of existing files."""
    for index, argument in enumerate(sys.argv):
        key, equals, value = argument.partition("=")
        if equals and key in keys and Path(value).exists():
            escaped = value.replace("\\'", "\\\\'").replace("'", "\\'")
            sys.argv[index] = f"{key}='{escaped}'"
