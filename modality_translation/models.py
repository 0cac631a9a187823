"""Models that translate rows of one embedding space into another, in one direction: the paper's, and a baseline."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.checks import Count, NotNegative, Share, Whole, checked_dataclass, checked_options
from common.randomness import seeded_normal
from common.registry import look_up
from modality_translation.conditional import ConditionalDiffusion
from modality_translation.projection import Projection
from training.batches import StepRandom

Module = TypeVar("Module", bound=nn.Module)
DIRECTIONS = ("image_to_text", "text_to_image")


@checked_dataclass("sampling.")
class Sampling:
    """How equation 5 is evaluated. The defaults are the paper's, which does not state its steps;
    configs/modality_translation.yaml has values that translate better.

    Attributes:
        steps: of the DDIM.
        guidance_scale: ω of equation 4.
        gamma: γ, the weight of the DDIM's direction.
        terms: `both`; `projection`, cM only (table 7's "w/o DDIM"); `ddim`, F(c) only ("w/o Projection").
        seed: of the noise that the DDIM starts from. It is the same for all rows, so that a row's translation depends
            neither on the call nor on the rest of its batch.
    """

    steps: Count = 10
    guidance_scale: NotNegative = 5.0
    gamma: NotNegative = 1.0
    terms: Literal["both", "projection", "ddim"] = "both"
    seed: Whole = 0

    def changed(self, overrides: Mapping[str, Any]) -> Sampling:
        """A copy with the overrides that are not None.

        Raises:
            ValueError: an unknown option, or a value outside its range.
        """
        return replace(self, **{name: value for name, value in overrides.items() if value is not None})


class Direction(nn.Module, ABC):
    """Rows of `condition_dim` -> rows of `dim`."""

    def fit(self, conditions: Tensor, targets: Tensor, row_of: Tensor) -> None:
        """Before training, solve for what is not learned. `row_of` (2, P): the paired rows of each."""

    @abstractmethod
    def losses(self, condition: Tensor, rows: Tensor, random: StepRandom) -> dict[str, Tensor]:
        """Scalars, means over the pairs of unit rows (B, C) and (B, D); "loss" is minimized."""

    @abstractmethod
    def translate_each(self, condition: Tensor, sampling: Sampling, gammas: Sequence[float]) -> list[Tensor]:
        """(B, C) unit rows -> (B, D) unit rows for each γ, all by one run of the DDIM."""

    def translate(self, condition: Tensor, sampling: Sampling) -> Tensor:
        """(B, C) unit rows -> (B, D) unit rows."""
        return self.translate_each(condition, sampling, [sampling.gamma])[0]


class ConditionalEncoderDecoder(Direction):
    """The paper's model: ẑ = cM + γ normalize(CDIM(c)) (equations 5 and 6), trained by equation 9.

    Both terms of the loss are means over the dimensions, which keeps their ratio as in the paper. The defaults are the
    paper's; configs/translator/ced.yaml has better ones.

    Args:
        dim: D.
        condition_dim: C.
        cdim: options of `ConditionalDiffusion`.
        sampling: γ and the terms of the reconstruction, as at inference.
        projection: `joint` learns M by equation 9; `closed_form` solves for it by ridge regression (`fit`) first.
        ridge: penalty of the ridge regression per pair; 0 is least squares (equation 13).
        target: what the DDIM makes: `embedding`, z itself (equation 9), or `residual`, the direction of z - cM, which
            Lemma 1 requires of F(c).
        reconstruction_weight: λ1.
        noise_weight: λ2.
        reconstruction_steps: the CDIM(c) of equation 8 in training. With 0 it is the row that the DDIM's training step
            predicts from the noised target, at no cost. With k it is a sample in k steps from pure noise, without
            guidance and with gradients through all steps, as at inference but for k more passes.
    """

    @checked_options("model.")
    def __init__(
        self,
        dim: int,
        condition_dim: int,
        cdim: Mapping,
        sampling: Sampling,
        projection: Literal["joint", "closed_form"] = "joint",
        ridge: NotNegative = 0.0,
        target: Literal["embedding", "residual"] = "embedding",
        reconstruction_weight: NotNegative = 1.0,
        noise_weight: NotNegative = 2.0,
        reconstruction_steps: Whole = 0,
    ):
        super().__init__()
        if projection == "joint" and ridge:
            raise ValueError(
                f"model.ridge={ridge} is for model.projection=closed_form; a learned one has loop.weight_decay: "
                "set model.ridge=0"
            )
        if sampling.terms == "ddim" and target == "residual":
            raise ValueError(
                "sampling.terms=ddim has no projection, so there is no residual: set model.target=embedding"
            )
        self.sampling, self.target, self.ridge = sampling, target, ridge
        self.weights = (reconstruction_weight, noise_weight)
        self.reconstruction_steps = reconstruction_steps
        self.projection = Projection(condition_dim, dim) if sampling.terms != "ddim" else None
        self.closed_form = projection == "closed_form"
        self.cdim = ConditionalDiffusion(dim, condition_dim, **cdim) if sampling.terms != "projection" else None
        if self.cdim is not None:
            self.cdim.check_steps(reconstruction_steps, "model.reconstruction_steps")
            self.cdim.check_steps(sampling.steps, "sampling.steps")
        if self.closed_form and self.projection is not None:
            self.projection.requires_grad_(False)

    def fit(self, conditions, targets, row_of):
        if self.closed_form and self.projection is not None:
            self.projection.fit(conditions, targets, row_of, self.ridge)

    def losses(self, condition, rows, random):
        projected = torch.zeros_like(rows) if self.projection is None else self.projection(condition)
        if self.cdim is None:
            return {"loss": (rows - projected).abs().mean()}
        target = F.normalize(rows - projected.detach(), dim=-1) if self.target == "residual" else rows
        kept = random.integers(1 << 20) >= self.cdim.drop_condition * (1 << 20)  # (B,)
        times, noise = random.integers(self.cdim.timesteps), random.normal_like(rows)
        noise_losses, predicted = self.cdim(target, condition, kept, times, noise)
        if self.reconstruction_steps:
            predicted = self.cdim.sample(condition, random.normal_like(rows), self.reconstruction_steps, 0.0)
            kept = torch.ones_like(kept)
        made = projected + self.sampling.gamma * F.normalize(predicted, dim=-1)
        # F(c) of a row without its condition does not translate it.
        reconstruction = ((rows - made).abs().mean(dim=-1) * kept).mean()
        noise_loss = noise_losses.mean()
        loss = self.weights[0] * reconstruction + self.weights[1] * noise_loss
        return {"loss": loss, "reconstruction": reconstruction, "noise": noise_loss}

    def parts(self, condition: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
        """The terms cM and F(c) of equation 5 for (B, C) unit rows, each (B, D); zeros for one that is left out."""
        projected = direction = torch.zeros((), device=condition.device)
        if sampling.terms != "ddim":
            projected = self._trained(self.projection, sampling)(condition)
        if sampling.terms != "projection":
            cdim = self._trained(self.cdim, sampling)
            cdim.check_steps(sampling.steps, "sampling.steps")
            normal = seeded_normal("cpu", sampling.seed, 7)
            noise = normal(torch.empty(1, cdim.process.seq_length)).to(condition.device)
            noise = noise.expand(len(condition), -1)
            direction = F.normalize(cdim.sample(condition, noise, sampling.steps, sampling.guidance_scale), dim=-1)
        return projected, direction

    def translate_each(self, condition, sampling, gammas):
        projected, direction = self.parts(condition, sampling)
        return [F.normalize(projected + gamma * direction, dim=-1) for gamma in gammas]

    def _trained(self, module: Module | None, sampling: Sampling) -> Module:
        if module is None:
            raise ValueError(
                f"sampling.terms={sampling.terms} needs a part that this translation was trained without "
                f"(sampling.terms={self.sampling.terms}): train one with sampling.terms=both"
            )
        return module


class Regressor(Direction):
    """The baseline: an MLP trained with the squared error. `sampling` does not affect it.

    It maps between coordinates of unit mean square, as the conditional encoder-decoder does.
    """

    @checked_options("model.")
    def __init__(
        self,
        dim: int,
        condition_dim: int,
        sampling: Sampling,
        width: Count = 1024,
        depth: Whole = 2,
        dropout: Share = 0.1,
    ):
        super().__init__()
        self.sampling = sampling
        layers, inputs = [], condition_dim
        for _ in range(depth):
            layers += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.SiLU(), nn.Dropout(dropout)]
            inputs = width
        self.network = nn.Sequential(*layers, nn.Linear(inputs, dim))

    def losses(self, condition, rows, random):
        return {"loss": (self._made(condition) - rows).square().sum(dim=-1).mean()}

    def translate_each(self, condition, sampling, gammas):
        return [F.normalize(self._made(condition), dim=-1)] * len(gammas)

    def _made(self, condition: Tensor) -> Tensor:
        made = self.network(math.sqrt(condition.shape[-1]) * condition).float()
        return made / math.sqrt(made.shape[-1])


KINDS = {"ced": ConditionalEncoderDecoder, "mlp": Regressor}


def build_direction(dim: int, condition_dim: int, options: Mapping, sampling: Sampling) -> Direction:
    """The model that `options["kind"]` names; the other options are its arguments.

    Raises:
        ValueError: an unknown kind or option.
    """
    options = dict(options)
    model = look_up(options.pop("kind", None), KINDS, "kind of model", "model.kind")
    return model(dim, condition_dim, sampling=sampling, **options)
