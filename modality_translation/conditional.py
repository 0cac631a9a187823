"""CDIM(c): a diffusion model of target embeddings given a condition embedding, with classifier-free guidance."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from denoising_diffusion_pytorch import GaussianDiffusion1D
from torch import Tensor, nn

from ddpm.denoisers import TimeEmbedding
from ddpm.diffusion import CHOICES, scale_of_rows
from ddpm.sampling import ddim_times, ddim_update


class ConditionedLayer(nn.Module):
    """One MLP layer of Diffusion Autoencoders' latent DDIM (arXiv 2111.15640, appendix A), scaled by the time; the
    condition is added to it: (B, inputs), (B, time_width), (B, C) -> (B, width)."""

    def __init__(self, inputs: int, width: int, time_width: int, condition_dim: int, dropout: float):
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.time = nn.Linear(time_width, width)
        self.condition = nn.Linear(condition_dim, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        features = self.linear(features) * (1 + self.time(time)) + self.condition(condition)
        return self.dropout(F.silu(self.norm(features)))


class ConditionalMLP(nn.Module):
    """The paper's residual MLP (section 4.3): `depth` layers, each of which sees the state again (skip connections).

    States (B, dim), times (B,), condition (B, C) -> predictions (B, dim) in float32.
    """

    def __init__(
        self,
        dim: int,
        condition_dim: int,
        width: int = 512,
        depth: int = 10,
        time_width: int = 64,
        dropout: float = 0.1,
    ):
        super().__init__()
        if depth < 1 or width < 1:
            raise ValueError(f"depth={depth} and width={width} must be at least 1 (options model.cdim.denoiser)")
        self.time = TimeEmbedding(time_width)
        self.layers = nn.ModuleList(
            ConditionedLayer(width + dim if index else dim, width, time_width, condition_dim, dropout)
            for index in range(depth)
        )
        self.leave = nn.Linear(width + dim, dim)

    def forward(self, states: Tensor, times: Tensor, condition: Tensor) -> Tensor:
        time, features = self.time(times), states
        for index, layer in enumerate(self.layers):
            features = layer(torch.cat([features, states], dim=-1) if index else features, time, condition)
        # Float32 under autocast too: late in the schedule the clean row is hundreds of times the noise's error.
        return self.leave(torch.cat([features, states], dim=-1)).float()


class ConditionalDiffusion(nn.Module):
    """A conditional DDIM (equations 1 to 4) over rows of unit length, given conditions of unit length. These are scaled
    to coordinates of unit mean square, or the layers would hardly hear them beside the state.

    Args (JSON values), by default as in the paper; configs/translator/ced.yaml has what we found better:
        dim, condition_dim: of the rows that it makes and of those that it makes them from.
        denoiser: options of `ConditionalMLP`.
        timesteps, schedule, objective: as `TextDiffusion`'s. The paper predicts the noise.
        embed_scale: length that rows are given before unit noise is added; null or "sqrt_dim": sqrt(dim), which gives
            their coordinates unit mean square.
        drop_condition: probability that a training row's condition is replaced by a learned one, φ, for guidance.

    Raises ValueError for values outside these.
    """

    def __init__(
        self,
        dim: int,
        condition_dim: int,
        denoiser: dict | None = None,
        timesteps: int = 1000,
        schedule: str = "linear",
        objective: str = "pred_noise",
        embed_scale: float | str | None = None,
        drop_condition: float = 0.05,
    ):
        super().__init__()
        for name, value in (("schedule", schedule), ("objective", objective)):
            if value not in CHOICES[name]:
                raise ValueError(
                    f"{name}={value!r} must be one of {', '.join(CHOICES[name])} (option model.cdim.{name})"
                )
        if timesteps < 2 or not 0 <= drop_condition < 1:
            raise ValueError(
                f"model.cdim: timesteps={timesteps} must be at least 2, drop_condition={drop_condition} from 0 below 1"
            )
        self.embed_scale = scale_of_rows(
            "sqrt_dim" if embed_scale is None else embed_scale, dim, "model.cdim.embed_scale"
        )
        self.condition_scale = math.sqrt(condition_dim)
        self.drop_condition = drop_condition
        try:
            network = ConditionalMLP(dim, condition_dim, **(denoiser or {}))
        except TypeError as error:
            raise ValueError(
                f"The denoiser does not take the options {denoiser} (option model.cdim): {error}"
            ) from error
        self.no_condition = nn.Parameter(torch.zeros(condition_dim))  # φ
        self.process = GaussianDiffusion1D(
            network, seq_length=dim, channels=1, self_condition=False, auto_normalize=False, timesteps=timesteps,
            objective=objective, beta_schedule=schedule,
        )  # fmt: skip

    @property
    def timesteps(self) -> int:
        return self.process.num_timesteps

    def check_steps(self, steps: int, option: str) -> None:
        """Raises ValueError for more steps than the chain has."""
        if steps > self.timesteps:
            raise ValueError(f"{option}={steps} must not be above the chain's {self.timesteps} (model.cdim.timesteps)")

    def forward(
        self, rows: Tensor, condition: Tensor, kept: Tensor, times: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Losses (B,) of equation 2 for unit rows (B, D) given condition (B, C), and the rows as predicted from their
        noised selves, (B, D) of any length. kept (B,) bool: where the condition is not dropped."""
        process, rows = self.process, self.embed_scale * rows
        condition = torch.where(kept[:, None], self.condition_scale * condition, self.no_condition)
        states = process.q_sample(rows, times, noise)
        found = process.model_predictions(states, times, model_forward_kwargs={"condition": condition})
        predicted, wanted = {
            "pred_noise": lambda: (found.pred_noise, noise),
            "pred_x0": lambda: (found.pred_x_start, rows),
            "pred_v": lambda: (
                process.predict_v(found.pred_x_start, times, found.pred_noise), process.predict_v(rows, times, noise)
            ),
        }[process.objective]()  # fmt: skip
        return (predicted - wanted).square().mean(dim=-1), found.pred_x_start

    def sample(self, condition: Tensor, noise: Tensor, steps: int, guidance_scale: float) -> Tensor:
        """CDIM(c): condition (B, C), standard normal noise (B, D) -> rows (B, D) of any length, by `steps`
        deterministic DDIM steps (equation 3) with guidance (equation 4; 0 is none)."""
        states, condition = noise, self.condition_scale * condition
        nothing = self.no_condition.expand_as(condition)
        for time, next_time in pairwise(ddim_times(self.timesteps, steps)):
            noise, rows = self._predict(states, time, condition)
            if guidance_scale:
                # A clean row is linear in the noise predicted, so guidance mixes both alike.
                others = self._predict(states, time, nothing)
                mixed = ((1 + guidance_scale) * with_c - guidance_scale * without
                         for with_c, without in zip((noise, rows), others, strict=True))  # fmt: skip
                noise, rows = mixed
            states = rows if next_time < 0 else ddim_update(self.process, rows, noise, time, next_time)
        return states

    def _predict(self, states: Tensor, time: int, condition: Tensor) -> tuple[Tensor, Tensor]:
        times = torch.full((len(states),), time, device=states.device)
        found = self.process.model_predictions(states, times, model_forward_kwargs={"condition": condition})
        return found.pred_noise, found.pred_x_start
