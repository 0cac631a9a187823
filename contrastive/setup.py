"""What each kind of model (`model.kind`) brings to contrastive training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from contrastive.pairs import Pairs


@dataclass(frozen=True)
class Setup:
    """A model to train and how it is fed, kept and read back.

    model: `model(images, texts)` gives unit rows twice and the logits' scale; has `logit_scale`, `encode_image` and
        `encode_text`.
    pairs: the pairs of a split, on the device.
    save, load: into a folder and out of it.
    weights: the file in that folder which holds the weights.
    """

    model: nn.Module
    pairs: Callable[[str], Pairs]
    save: Callable[[Any, Path], None]
    load: Callable[[Path], nn.Module]
    weights: str
