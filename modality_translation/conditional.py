"""CDIM(c): a diffusion model of target embeddings given a condition embedding, with classifier-free guidance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.checks import BelowOne, Count, Share, checked_options
from ddpm.denoisers import TimeEmbedding, TimeWidth
from ddpm.diffusion import EmbedScale, Objective, Schedule, Timesteps, row_length
from ddpm.sampling import NoisingProcess, ddim_times, ddim_update


class ConditionedLayer(nn.Module):
    """One MLP layer of Diffusion Autoencoders' latent DDIM (arXiv 2111.15640, appendix A), scaled by the time.

    The condition is added to it: (B, inputs), (B, time_width), (B, C) -> (B, width).
    """

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

    @checked_options("model.cdim.denoiser.")
    def __init__(
        self,
        dim: int,
        condition_dim: int,
        width: Count = 512,
        depth: Count = 10,
        time_width: TimeWidth = 64,
        dropout: Share = 0.1,
    ):
        super().__init__()
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
    """A conditional DDIM (equations 1 to 4) of unit rows, given unit conditions.

    Conditions are scaled to coordinates of unit mean square, since much smaller ones would hardly affect the layers.
    The defaults are the paper's; configs/translator/ced.yaml has better ones.

    Args:
        dim: of the rows that it makes.
        condition_dim: of the conditions.
        denoiser: options of `ConditionalMLP`.
        timesteps: T, the length of the noising chain.
        schedule: of the noise.
        objective: what the network predicts.
        embed_scale: length of rows before unit noise is added; None or "sqrt_dim" is sqrt(dim), which gives their
            coordinates unit mean square.
        drop_condition: probability that a training row's condition is replaced by a learned one, φ, for guidance.

    Raises:
        ValueError: values outside these.
    """

    @checked_options("model.cdim.")
    def __init__(
        self,
        dim: int,
        condition_dim: int,
        denoiser: Mapping | None = None,
        timesteps: Timesteps = 1000,
        schedule: Schedule = "linear",
        objective: Objective = "pred_noise",
        embed_scale: EmbedScale | None = None,
        drop_condition: BelowOne = 0.05,
    ):
        super().__init__()
        self.embed_scale = row_length(embed_scale or "sqrt_dim", dim)
        self.condition_scale = math.sqrt(condition_dim)
        self.drop_condition = drop_condition
        network = ConditionalMLP(dim, condition_dim, **(denoiser or {}))
        self.no_condition = nn.Parameter(torch.zeros(condition_dim))  # φ
        self.process = NoisingProcess(network, dim, timesteps, schedule, objective)

    @property
    def timesteps(self) -> int:
        return self.process.num_timesteps

    def check_steps(self, steps: int, option: str) -> None:
        """Raise ValueError for more steps than the chain has."""
        if steps > self.timesteps:
            raise ValueError(f"{option}={steps} must not exceed model.cdim.timesteps={self.timesteps}")

    def forward(
        self, rows: Tensor, condition: Tensor, kept: Tensor, times: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Losses (B,) of equation 2, and rows (B, D) of any length as predicted from noised ones.

        Args:
            rows: (B, D) unit rows.
            condition: (B, C) unit rows.
            kept: (B,) bool, where the condition is not dropped.
            times: (B,) int64 in [0, T).
            noise: (B, D) standard normal.
        """
        process, rows = self.process, self.embed_scale * rows
        condition = torch.where(kept[:, None], self.condition_scale * condition, self.no_condition)
        states = process.q_sample(rows, times, noise)
        made = process.model_predictions(states, times, model_forward_kwargs={"condition": condition})
        predicted, target = {
            "pred_noise": lambda: (made.pred_noise, noise),
            "pred_x0": lambda: (made.pred_x_start, rows),
            "pred_v": lambda: (
                process.predict_v(made.pred_x_start, times, made.pred_noise), process.predict_v(rows, times, noise)
            ),
        }[process.objective]()  # fmt: skip
        return (predicted - target).square().mean(dim=-1), made.pred_x_start

    def sample(self, condition: Tensor, noise: Tensor, steps: int, guidance_scale: float) -> Tensor:
        """CDIM(c): condition (B, C), standard normal noise (B, D) -> rows (B, D) of any length.

        It takes `steps` deterministic DDIM steps (equation 3) with guidance (equation 4; 0 is none).
        """
        states, condition = noise, self.condition_scale * condition
        nothing = self.no_condition.expand_as(condition)
        for time, next_time in pairwise(ddim_times(self.timesteps, steps)):
            noise, rows = self._predict(states, time, condition)
            if guidance_scale:
                # A clean row is linear in the predicted noise, so guidance applies to both.
                others = self._predict(states, time, nothing)
                mixed = ((1 + guidance_scale) * with_c - guidance_scale * without
                         for with_c, without in zip((noise, rows), others, strict=True))  # fmt: skip
                noise, rows = mixed
            states = rows if next_time < 0 else ddim_update(self.process, rows, noise, time, next_time)
        return states

    def _predict(self, states: Tensor, time: int, condition: Tensor) -> tuple[Tensor, Tensor]:
        times = torch.full((len(states),), time, device=states.device)
        made = self.process.model_predictions(states, times, model_forward_kwargs={"condition": condition})
        return made.pred_noise, made.pred_x_start
