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
    """A model to train, its data, and how it is saved and loaded.

    Attributes:
        model: `model(images, texts)` gives unit rows twice and the logits' scale. It has `logit_scale`, `encode_image`
            and `encode_text`.
        pairs: the pairs of a split, on the device.
        save, load: write a model into a folder, and read it back.
        weights: the name of the file of weights in that folder.
    """

    model: nn.Module
    pairs: Callable[[str], Pairs]
    save: Callable[[Any, Path], None]
    load: Callable[[Path], nn.Module]
    weights: str
