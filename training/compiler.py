"""Whether torch.compile works on this machine: it needs a C++ compiler beside torch."""

from __future__ import annotations

import torch


def check_compiler(device: torch.device) -> None:
    """Compile and run a small function on `device`.

    Otherwise a missing compiler would show as a long traceback in the first training step.

    Raises:
        ValueError: that fails; the sentence says what to install.
    """
    try:
        torch.compile(lambda x: (x + 1).sin(), fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:  # each backend has failures of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"loop.compile=true: torch.compile does not work on this machine's {device.type} ({reason}); it needs a "
            "C++ compiler and Python's headers (apt-get install g++ python3-dev), or set loop.compile=false"
        ) from error
