"""What translates rows of one embedding space into those of another, in one direction: the paper's model, and a plain
regressor to hold it against."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.randomness import seeded_normal
from common.registry import look_up
from modality_translation.conditional import ConditionalDiffusion
from modality_translation.projection import Projection
from training.batches import StepRandom

DIRECTIONS = ("image_to_text", "text_to_image")
TERMS = ("both", "projection", "ddim")
TARGETS = ("embedding", "residual")


@dataclass(frozen=True)
class Sampling:
    """How equation 5 is evaluated; the values are the checkpoint's, unless overridden. By default the paper's, which
    does not tell its steps; configs/modality_translation.yaml has those that translate best.

    steps: of the DDIM. guidance_scale: ω of equation 4. gamma: γ, weight of the DDIM's direction.
    terms: `both`; `projection`, cM alone (table 7's "w/o DDIM"); `ddim`, F(c) alone ("w/o Projection").
    seed: of the noise that the DDIM starts from, the same for all rows: a row's translation depends neither on the call
        nor on the rest of its batch.
    """

    steps: int = 10
    guidance_scale: float = 5.0
    gamma: float = 1.0
    terms: str = "both"
    seed: int = 0

    def __post_init__(self):
        if not all(_is_number(value, int) for value in (self.steps, self.seed)) or self.steps < 1 or self.seed < 0:
            raise ValueError(
                f"sampling: steps={self.steps} must be at least 1 and seed={self.seed} at least 0, both whole"
            )
        if not all(_is_number(value, (int, float)) and value >= 0 for value in (self.guidance_scale, self.gamma)):
            raise ValueError(
                f"sampling: guidance_scale={self.guidance_scale} and gamma={self.gamma} must be numbers, 0 or more"
            )
        if self.terms not in TERMS:
            raise ValueError(f"sampling.terms={self.terms!r} must be one of {', '.join(TERMS)}")

    def changed(self, overrides: dict) -> Sampling:
        """With the overrides that are not None. Raises ValueError for unknown options."""
        if unknown := set(overrides) - {field.name for field in fields(self)}:
            raise ValueError(f"sampling has no option {sorted(unknown)[0]!r}")
        return replace(self, **{name: value for name, value in overrides.items() if value is not None})


def _is_number(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


class Direction(nn.Module, ABC):
    """Rows of `condition_dim` -> rows of `dim`."""

    @abstractmethod
    def losses(self, condition: Tensor, rows: Tensor, random: StepRandom) -> dict[str, Tensor]:
        """Scalars, means over the pairs of unit rows (B, C) and (B, D); 'loss' is trained on."""

    @abstractmethod
    def translate_each(self, condition: Tensor, sampling: Sampling, gammas: Sequence[float]) -> list[Tensor]:
        """(B, C) unit rows -> (B, D) unit rows for each γ, which cost no more than one."""

    def translate(self, condition: Tensor, sampling: Sampling) -> Tensor:
        """(B, C) unit rows -> (B, D) unit rows."""
        return self.translate_each(condition, sampling, [sampling.gamma])[0]


class ConditionalEncoderDecoder(Direction):
    """The paper's model: ẑ = cM + γ normalize(CDIM(c)) (equations 5 and 6), trained by equation 9.

    Both terms of the loss are means over the dimensions, which leaves their ratio as in the paper. Where equation 8
    needs CDIM(c) in training, `reconstruction_steps` says which: 0, the row that the DDIM's own training step predicts
    from the noised target, which costs nothing; k, a sample in k steps from pure noise, without guidance, gradients
    through all of them: what inference does, for k more passes.

    Args (JSON values), by default as in the paper; configs/translator/ced.yaml has what we found better:
        dim, condition_dim: D and C.
        cdim: options of `ConditionalDiffusion`.
        sampling: γ and the terms that the reconstruction is made of, as at inference.
        projection: `joint`, M learned by equation 9; `closed_form`, by ridge regression before (`fit`), then fixed.
        ridge: its penalty a pair; 0 is least squares (equation 13).
        target: what the DDIM makes: `embedding`, z itself (equation 9); `residual`, the direction of z - cM, which is
            what F(c) is to be by Lemma 1.
        reconstruction_weight, noise_weight: λ1 and λ2.
        reconstruction_steps: see above.
    """

    def __init__(
        self,
        dim: int,
        condition_dim: int,
        cdim: dict,
        sampling: Sampling,
        projection: str = "joint",
        ridge: float = 0.0,
        target: str = "embedding",
        reconstruction_weight: float = 1.0,
        noise_weight: float = 2.0,
        reconstruction_steps: int = 0,
    ):
        super().__init__()
        for name, value, known in (
            ("projection", projection, ("joint", "closed_form")), ("target", target, TARGETS)
        ):  # fmt: skip
            if value not in known:
                raise ValueError(f"model.{name}={value!r} must be one of {', '.join(known)}")
        if projection == "joint" and ridge:
            raise ValueError(
                f"model.ridge={ridge} is for model.projection=closed_form; a learned one has loop.weight_decay: "
                "set model.ridge=0"
            )
        weights = (reconstruction_weight, noise_weight)
        if not all(_is_number(value, (int, float)) and value >= 0 for value in (*weights, ridge)):
            raise ValueError(
                f"model.reconstruction_weight={reconstruction_weight}, model.noise_weight={noise_weight} and "
                f"model.ridge={ridge} must be numbers, 0 or more"
            )
        if not _is_number(reconstruction_steps, int) or reconstruction_steps < 0:
            raise ValueError(f"model.reconstruction_steps={reconstruction_steps} must be a whole number, 0 or more")
        if sampling.terms == "ddim" and target == "residual":
            raise ValueError(
                "sampling.terms=ddim has no projection, so there is no residual: set model.target=embedding"
            )
        self.sampling, self.target, self.ridge = sampling, target, ridge
        self.weights = weights
        self.reconstruction_steps = reconstruction_steps
        self.projection = Projection(condition_dim, dim) if sampling.terms != "ddim" else None
        self.closed_form = projection == "closed_form" and self.projection is not None
        self.cdim = ConditionalDiffusion(dim, condition_dim, **cdim) if sampling.terms != "projection" else None
        if self.cdim is not None:
            self.cdim.check_steps(reconstruction_steps, "model.reconstruction_steps")
            self.cdim.check_steps(sampling.steps, "sampling.steps")
        if self.closed_form:
            self.projection.requires_grad_(False)

    def fit(self, conditions: Tensor, targets: Tensor, row_of: Tensor) -> None:
        """Solve for M, if it is not learned: see `Projection.fit`."""
        if self.closed_form:
            self.projection.fit(conditions, targets, row_of, self.ridge)

    def losses(self, condition, rows, random):
        projected = 0.0 if self.projection is None else self.projection(condition)
        if self.cdim is None:
            return {"loss": (rows - projected).abs().mean()}
        wanted = rows
        if self.target == "residual":
            wanted = F.normalize(rows - projected.detach(), dim=-1)
        kept = random.integers(1 << 20) >= self.cdim.drop_condition * (1 << 20)  # (B,)
        times, noise = random.integers(self.cdim.timesteps), random.normal_like(rows)
        noise_losses, found = self.cdim(wanted, condition, kept, times, noise)
        if self.reconstruction_steps:
            found = self.cdim.sample(condition, random.normal_like(rows), self.reconstruction_steps, 0.0)
            kept = torch.ones_like(kept)
        made = projected + self.sampling.gamma * F.normalize(found, dim=-1)
        # F(c) of a row without its condition is no translation of it.
        reconstruction = ((rows - made).abs().mean(dim=-1) * kept).mean()
        noise_loss = noise_losses.mean()
        loss = self.weights[0] * reconstruction + self.weights[1] * noise_loss
        return {"loss": loss, "reconstruction": reconstruction, "noise": noise_loss}

    def parts(self, condition: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
        """cM and F(c) of equation 5 for (B, C) unit rows, each (B, D); zeros for a term that is left out."""
        projected = found = torch.zeros((), device=condition.device)
        if sampling.terms != "ddim":
            projected = self._has("projection", sampling)(condition)
        if sampling.terms != "projection":
            cdim = self._has("cdim", sampling)
            cdim.check_steps(sampling.steps, "sampling.steps")
            normal = seeded_normal("cpu", sampling.seed, 7)
            noise = normal(torch.empty(1, cdim.process.seq_length)).to(condition.device)
            noise = noise.expand(len(condition), -1)
            found = F.normalize(cdim.sample(condition, noise, sampling.steps, sampling.guidance_scale), dim=-1)
        return projected, found

    def translate_each(self, condition, sampling, gammas):
        projected, found = self.parts(condition, sampling)
        return [F.normalize(projected + gamma * found, dim=-1) for gamma in gammas]

    def _has(self, part: str, sampling: Sampling) -> nn.Module:
        module = getattr(self, part)
        if module is None:
            raise ValueError(
                f"sampling.terms={sampling.terms} needs a part that this translation was trained without "
                f"(sampling.terms={self.sampling.terms}): train one with sampling.terms=both"
            )
        return module


class Regressor(Direction):
    """The plain baseline: an MLP trained by the squared error; `sampling` has nothing to say.

    It works between coordinates of unit mean square, as the conditional encoder-decoder does.
    """

    def __init__(
        self, dim: int, condition_dim: int, sampling: Sampling, width: int = 1024, depth: int = 2, dropout: float = 0.1
    ):
        super().__init__()
        if not _is_number(width, int) or not _is_number(depth, int) or width < 1 or depth < 0:
            raise ValueError(f"model.width={width} must be at least 1 and model.depth={depth} at least 0, both whole")
        self.sampling = sampling
        layers, inputs = [], condition_dim
        for _ in range(depth):
            layers += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.SiLU(), nn.Dropout(dropout)]
            inputs = width
        self.network = nn.Sequential(*layers, nn.Linear(inputs, dim))

    def fit(self, conditions: Tensor, targets: Tensor, row_of: Tensor) -> None:
        """Nothing is solved for."""

    def losses(self, condition, rows, random):
        return {"loss": (self._made(condition) - rows).square().sum(dim=-1).mean()}

    def translate_each(self, condition, sampling, gammas):
        return [F.normalize(self._made(condition), dim=-1)] * len(gammas)

    def _made(self, condition: Tensor) -> Tensor:
        made = self.network(math.sqrt(condition.shape[-1]) * condition).float()
        return made / math.sqrt(made.shape[-1])


KINDS = {"ced": ConditionalEncoderDecoder, "mlp": Regressor}


def build_direction(dim: int, condition_dim: int, options: dict, sampling: Sampling) -> Direction:
    """The model that `options["kind"]` names; the others are its arguments. Raises ValueError for unknown ones."""
    options = dict(options)
    kind = options.pop("kind", None)
    model = look_up(kind, KINDS, "kind of model", "model.kind")
    try:
        return model(dim, condition_dim, sampling=sampling, **options)
    except TypeError as error:
        raise ValueError(f"model.kind={kind} does not take the options {options}: {error}") from error
