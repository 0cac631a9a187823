"""Whether two descriptions of encoders are of one encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What embeddings depend on. Not the name, nor the precision, which changes them by no more than rounding; nor where
# weights, heads, towers or imported files are: weights that have a sha256 are known by it.
DEPENDS_ON = (
    "model", "pretrained", "sha256", "image_tower", "text_tower", "frames", "pooling", "side", "of", "sound", "seconds",
    "crop", "short", "medium",
)  # fmt: skip
# Towers without heads, and what says where the weights of one are.
TOWERS = {"image_tower": "weights", "text_tower": "model"}
NESTED = "of"  # the encoder that another one is made of
LOCAL_DIR = "local-dir:"  # how open_clip calls a model in a folder


def is_same_encoder(encoder: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two `Encoder.description`s are of encoders whose embeddings are the same, but for rounding."""
    return _identity(encoder) == _identity(other)


def describe_encoder(encoder: Mapping[str, Any]) -> str:
    """The encoder's name and what its embeddings depend on, for messages."""
    known = [f"{key} {str(value)[:40]}" for key, value in _identity(encoder).items()]
    return f"{encoder.get('name', 'an encoder')} ({', '.join(known)})"


def _identity(encoder: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: encoder[key] for key in DEPENDS_ON if encoder.get(key) is not None}
    if "sha256" in known:
        known.pop("pretrained", None)
        if str(known.get("model")).startswith(LOCAL_DIR):
            known["model"] = LOCAL_DIR
    for side, place in TOWERS.items():
        if isinstance(tower := known.get(side), Mapping) and "sha256" in tower:
            known[side] = {key: value for key, value in tower.items() if key != place}
    if NESTED in known:
        known[NESTED] = _identity(known[NESTED])
    return known
