"""Why contrastive training keeps a modality gap (C³, arXiv 2401.08567, section 3): an experiment in a few dimensions.

The gradient of InfoNCE with respect to an image's row is a combination of text rows whose weights sum to zero. In a
dimension in which all texts have one value the combination is zero: nothing moves the image there. The other direction
of the symmetric loss weighs texts by softmaxes over images, whose weights sum to zero only over all images together:
what it does in that dimension leaves the images' mean where it is. So an offset between the modalities stays in
dimensions in which the encoders' rows do not vary, and shrinks in the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from pydantic import Field
from torch import Tensor, nn

from common.checks import checked_dataclass


@checked_dataclass()
class GapExperiment:
    """Pairs of free rows, `varying` dimensions wide, and then `constant` dimensions in which a modality has one value.

    Args:
        offset: length of the difference between the modalities' means at the start, in the varying and in the constant
            dimensions each.
        steps, learning_rate: of gradient descent with momentum 0.9, on all pairs at once; the rate is multiplied by
            pairs and temperature, with which the gradient shrinks and grows. Not Adam: it would divide a gradient that
            is zero but for rounding by its own size.
        unit_rows: normalise rows before the loss, as CLIP does. Rows then trade length between dimensions, so that the
            offset in constant ones can shrink or grow with all of a row.

    Raises ValueError for values outside these meanings.
    """

    pairs: int = Field(256, ge=2)
    varying: int = Field(8, ge=1)
    constant: int = Field(8, ge=1)
    offset: float = Field(1.0, gt=0)
    steps: int = Field(1000, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    unit_rows: bool = False
    seed: int = 0

    def modalities(self) -> tuple[Rows, Rows]:
        """Images and texts at the start: rows of about unit length around ± half the offset."""
        generator = torch.Generator().manual_seed(self.seed)
        return tuple(Rows(self, sign / 2 * self.offset, generator) for sign in (1, -1))

    def run(self, temperature: float) -> dict[str, list[float]]:
        """Figures before each step and after the last, steps + 1 of each: the `loss`, the distance of the means in the
        `varying` and in the `constant` dimensions, and `alignment`, the mean squared distance of pairs in the varying
        ones. Raises ValueError for a temperature that is not positive, and when the loss is no longer finite."""
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be positive (option temperatures)")
        images, texts = self.modalities()
        parameters = [*images.parameters(), *texts.parameters()]
        rate = self.learning_rate * self.pairs * temperature
        optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
        curves: dict[str, list[float]] = {name: [] for name in ("loss", "varying", "constant", "alignment")}
        for step in range(self.steps + 1):
            image_rows, text_rows = images(), texts()
            loss = contrastive_loss(image_rows, text_rows, temperature)
            gap = (image_rows - text_rows).detach()
            parts = {"varying": gap[:, : self.varying], "constant": gap[:, self.varying :]}
            found = {name: part.mean(0).norm().item() for name, part in parts.items()}
            found |= {"loss": loss.item(), "alignment": parts["varying"].square().sum(-1).mean().item()}
            for name, value in found.items():
                curves[name].append(value)
            if not loss.isfinite():
                raise ValueError(
                    f"The loss at temperature {temperature} is not finite after {step} steps: lower learning_rate="
                    f"{self.learning_rate}"
                )
            if step < self.steps:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return curves

    def sweep(self, temperatures: Sequence[float]) -> dict[float, dict[str, list[float]]]:
        """`run` for each temperature, all from the same start."""
        return {temperature: self.run(temperature) for temperature in temperatures}


class Rows(nn.Module):
    """(N, D) rows of one modality: free where they vary, one value for all of them in the constant dimensions."""

    def __init__(self, options: GapExperiment, offset: float, generator: torch.Generator):
        super().__init__()
        self.unit_rows = options.unit_rows
        drawn = (
            torch.randn(options.pairs, options.varying, generator=generator, dtype=torch.float64) / options.varying**0.5
        )
        self.varying = nn.Parameter(drawn - drawn.mean(0) + offset / options.varying**0.5)
        self.constant = nn.Parameter(
            torch.full((options.constant,), offset / options.constant**0.5, dtype=torch.float64)
        )

    def forward(self) -> Tensor:
        rows = torch.cat([self.varying, self.constant.expand(len(self.varying), -1)], dim=1)
        return F.normalize(rows, dim=-1) if self.unit_rows else rows


def contrastive_loss(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """CLIP's symmetric InfoNCE of pairs of rows (N, D), in nats."""
    return ClipLoss()(images, texts, 1 / temperature)
