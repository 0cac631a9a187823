"""Why contrastive training keeps a modality gap (C³, arXiv 2401.08567, section 3): an experiment in a few dimensions.

The gradient of InfoNCE with respect to an image's row is a combination of text rows whose weights sum to zero. In a
dimension in which all texts have the same value the combination is zero: nothing moves the image there. The other
direction of the symmetric loss weighs texts by softmaxes over images, whose weights sum to zero only over all images:
its gradient in that dimension does not move the images' mean. So an offset between the modalities persists in
dimensions in which the encoders' rows do not vary, and shrinks in the others.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from pydantic import Field
from torch import Tensor, nn

from common.checks import Count, Positive, checked_dataclass, checked_options


@checked_dataclass()
class GapExperiment:
    """Pairs of free rows in `varying` dimensions, and `constant` further dimensions in which a modality has one value.

    Attributes:
        offset: length of the difference between the modalities' means at the start, both in the varying and in the
            constant dimensions.
        steps: of gradient descent with momentum 0.9 on all pairs at once. Adam would not do: it would divide a gradient
            that is zero except for rounding by its size.
        learning_rate: multiplied by pairs and temperature, which undoes their effect on the gradient's size.
        unit_rows: normalize rows before the loss, as CLIP does. Rows then trade length between dimensions, so that the
            offset in constant ones can shrink or grow with the whole row.
    """

    pairs: Annotated[int, Field(ge=2)] = 256
    varying: Count = 8
    constant: Count = 8
    offset: Positive = 1.0
    steps: Count = 1000
    learning_rate: Positive = 0.1
    unit_rows: bool = False
    seed: int = 0

    def modalities(self) -> tuple[Rows, Rows]:
        """Images and texts at the start: rows of about unit length around ± half the offset."""
        generator = torch.Generator().manual_seed(self.seed)
        return Rows(self, self.offset / 2, generator), Rows(self, -self.offset / 2, generator)

    @checked_options()
    def run(self, temperature: Positive) -> dict[str, list[float]]:
        """Statistics before each step and after the last, steps + 1 of each.

        Returns:
            The `loss`, the distance of the means in the `varying` and in the `constant` dimensions, and `alignment`,
            the mean squared distance of pairs in the varying ones.

        Raises:
            ValueError: the loss is no longer finite.
        """
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
            values = {name: part.mean(0).norm().item() for name, part in parts.items()}
            values |= {"loss": loss.item(), "alignment": parts["varying"].square().sum(-1).mean().item()}
            for name, value in values.items():
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
