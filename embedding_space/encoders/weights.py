"""Hashes of weights, by which a model is recognized."""

from __future__ import annotations

import hashlib

from torch import nn


def hash_weights(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and values of a module's state: the same whatever file it came from."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_weights(what: str, expected: str | None, digest: str) -> None:
    """Refuse weights whose hash is not `expected`, an earlier `hash_weights`; None accepts any."""
    if expected not in (None, digest):
        raise ValueError(
            f"The weights of {what} (hash {digest[:12]}) are not those that were used before (hash {expected[:12]}): "
            "bring those back, or train and prepare again what was made with them"
        )
