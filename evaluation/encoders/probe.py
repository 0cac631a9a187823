"""A probe: pictures and texts for which somebody published what an encoder makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from embedding_space.encoders.base import Encoder

# What a probe's values are: cosines, cosines times the encoder's logit scale, or the softmax of the latter over texts.
Kind = Literal["cosines", "logits", "probabilities"]
Verdict = Literal["passed", "failed", "unclear"]


@dataclass(frozen=True)
class Probe:
    """Published values for some pictures (one a row) and texts (one a column).

    Attributes:
        name: what the table of checks calls it.
        texts: T of them.
        values: R rows of T numbers.
        source: where they were published.
        pictures: R names in `pictures.PICTURES`; none: the texts are the rows, too (R = T, cosines).
        kind: of the values. Probabilities are compared by their logarithms, as small ones tell as much as large ones.
        tolerance: the largest difference of one value that passes.
        unclear_to: differences above `tolerance` and up to this one are no failure, where the source leaves open how it
            got the values. None: there are none.
        templates: a text's row is the mean of its rows in these.
        hidden_colors: transparent parts keep the colors that are hidden there, as in pictures that are made RGB after
            they were resized. False: the pictures are made RGB first, by dropping their transparency.
    """

    name: str
    texts: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    source: str
    pictures: tuple[str, ...] = ()
    kind: Kind = "cosines"
    tolerance: float = 0.01
    unclear_to: float | None = None
    templates: tuple[str, ...] = ("{}",)
    hidden_colors: bool = False

    def __post_init__(self):
        rows = len(self.pictures or self.texts)
        if len(self.values) != rows or any(len(row) != len(self.texts) for row in self.values):
            raise ValueError(f"The probe {self.name} needs values of {rows} rows and {len(self.texts)} columns")
        if not self.pictures and self.kind != "cosines":
            raise ValueError(f"The probe {self.name} has no pictures, so that its values must be cosines")

    def measure(self, encoder: Encoder, files: Mapping[str, Path] | None = None) -> Tensor:
        """(R, T) float64: what the encoder gives, computed in float32.

        Args:
            files: where each of the probe's pictures is.
        """
        with in_full_precision(encoder):
            texts = self._text_rows(encoder)
            pictures = [(files or {})[name] for name in self.pictures]
            rows = picture_rows(encoder, pictures, not self.hidden_colors) if pictures else texts
        cosines = rows.double() @ texts.double().T
        if self.kind == "cosines":
            return cosines
        logits = cosines * logit_scale(encoder)
        return logits if self.kind == "logits" else logits.softmax(dim=-1)

    def _text_rows(self, encoder: Encoder) -> Tensor:
        prompts = [template.replace("{}", text) for text in self.texts for template in self.templates]
        rows = encoder.encode_texts(prompts)
        return F.normalize(rows.unflatten(0, (len(self.texts), len(self.templates))).mean(1), dim=-1)

    def difference(self, measured: Tensor) -> float:
        """The largest difference of a measured value to the published one; NaN where a value is none."""
        published = torch.tensor(self.values, dtype=torch.float64)
        if self.kind == "probabilities":
            measured, published = measured.log(), published.log()
        differences = (measured - published).abs()
        return math.nan if differences.isnan().any() else differences.max().item()

    def verdict(self, measured: Tensor) -> Verdict:
        """Whether the measured values are the published ones."""
        difference = self.difference(measured)
        if difference <= self.tolerance:
            return "passed"
        return "unclear" if self.unclear_to is not None and difference <= self.unclear_to else "failed"

    def recorded(self, encoder: Encoder, files: Mapping[str, Path] | None = None, digits: int = 5) -> Probe:
        """The same probe with the values that this encoder gives, for encoders of which nobody published any."""
        rows = self.measure(encoder, files).tolist()
        return replace(self, values=tuple(tuple(round(value, digits) for value in row) for row in rows))


def picture_rows(encoder: Encoder, files: Sequence[Path], rgb_first: bool = True) -> Tensor:
    """(R, D) float32 unit rows of picture files as those who published values opened them.

    That is, transparency is dropped, where `open_picture` puts such pictures over white.

    Args:
        rgb_first: before they are resized, not after.
    """
    pictures = []
    for file in files:
        with Image.open(file) as picture:
            pictures.append(encoder.preprocess(picture.convert("RGB") if rgb_first else picture))
    with torch.inference_mode():
        features = encoder.image_features(torch.stack(pictures).to(encoder.device))
    return F.normalize(features.float(), dim=-1).cpu()


def logit_scale(encoder: Encoder) -> float:
    """What the encoder multiplies cosines with. Raises ValueError for one that has no such number."""
    scale = getattr(getattr(encoder, "model", None), "logit_scale", None)
    if scale is None:
        raise ValueError(f"The encoder {encoder.description['name']} has no logit scale")
    return scale.double().exp().item()


@contextmanager
def in_full_precision(encoder: Encoder) -> Iterator[None]:
    """Within the block, the encoder computes in float32, whatever it was loaded with."""
    before = encoder.precision
    encoder.precision = "fp32"
    try:
        yield
    finally:
        encoder.precision = before
