"""Reading weights from checkpoint files, without what training code wraps around them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from common.characters import one_line

WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys that training code keeps weights under, beside others
PREFIXES = ("_orig_mod.", "module.", "model.")  # of torch.compile, DataParallel and Lightning before a weight's name


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """{name: tensor} of a checkpoint file, on the CPU: safetensors, or what torch.save wrote.

    Wrappers of training code are removed: `{"state_dict": ...}`, `{"model": ...}`, and the prefixes `_orig_mod.`,
    `module.` and `model.` of all names. Nothing in the file is run.

    Raises:
        ValueError: the file holds more than weights (a whole pickled module) or none, or is damaged.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return unwrap(load_file(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch.load raise anything
        message = one_line(error, limit=2000)
        asked = re.search(r"GLOBAL (\S+)", message)
        if asked is None:
            why = message.partition("Weights only load failed")[0].strip()[:200] or "torch cannot read it as weights"
            raise ValueError(f"the file is damaged or no checkpoint ({why}): copy or save it again") from error
        raise ValueError(
            f"the file holds more than weights (a {ascii(asked[1])[1:-1][:80]}), and reading that would run code of "
            "its own; where it was made, save the weights alone: torch.save(model.state_dict(), FILE)"
        ) from error
    return unwrap(content)


def unwrap(content: Any) -> dict[str, Tensor]:
    """The weights in a checkpoint's content, see `read_weights`; the content itself where nothing is around them."""
    weights = content
    while key := _wrapper(weights):
        weights = weights[key]
    if not _are_weights(weights):
        names = ", ".join(ascii(key)[:30] for key in list(weights)[:8]) if isinstance(weights, Mapping) else ""
        what = f"the keys {names or 'of nothing'}" if isinstance(weights, Mapping) else f"a {type(weights).__name__}"
        raise ValueError(
            f"the file has {what} and no weights under {', '.join(WRAPPERS)} either; save the weights alone: "
            "torch.save(model.state_dict(), FILE)"
        )
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _wrapper(content: Any) -> str | None:
    if not isinstance(content, Mapping):
        return None
    return next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)


def _are_weights(content: Any) -> bool:
    if not isinstance(content, Mapping) or not content:
        return False
    return all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
