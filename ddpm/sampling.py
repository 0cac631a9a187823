"""The noising process, and DDIM's times and update as pure functions (arXiv 2010.02502)."""

from __future__ import annotations

import torch
from denoising_diffusion_pytorch import GaussianDiffusion1D
from torch import Tensor, nn

from alignment.step import NormalSampler


class NoisingProcess(GaussianDiffusion1D):
    """denoising-diffusion-pytorch's process for rows (B, D), whose network may take more than states and times.

    Raises:
        ValueError: too few timesteps for the schedule.
    """

    alphas_cumprod: Tensor  # (T,), as all of these
    sqrt_one_minus_alphas_cumprod: Tensor
    sqrt_recip_alphas_cumprod: Tensor
    sqrt_recipm1_alphas_cumprod: Tensor
    loss_weight: Tensor

    def __init__(self, network: nn.Module, dim: int, timesteps: int, schedule: str, objective: str):
        super().__init__(
            network, seq_length=dim, channels=1, self_condition=False, auto_normalize=False, timesteps=timesteps,
            objective=objective, beta_schedule=schedule,
        )  # fmt: skip
        if not self.loss_weight.isfinite().all() or not self.sqrt_recip_alphas_cumprod.isfinite().all():
            raise ValueError(
                f"timesteps={timesteps} is too few for schedule={schedule}: no signal is left before its last step; "
                "take more than 20, or schedule=cosine"
            )


def ddim_times(start_timestep: int, steps: int) -> list[int]:
    """The steps + 1 network times from start_timestep - 1 down to -1 (the clean row), evenly spaced, rounded down.

    The off-by-one is the reference's: the network first sees a row noised with index 400 as time 399.
    """
    return [index * start_timestep // steps - 1 for index in range(steps, -1, -1)]


def ddim_update(
    process: NoisingProcess,
    rows: Tensor,
    noise: Tensor,
    time: int,
    next_time: int,
    eta: float = 0.0,
    normal: NormalSampler = torch.randn_like,
) -> Tensor:
    """Predicted clean rows and noise (B, D) at `time` -> states (B, D) at `next_time`, 0 <= next_time < time.

    Equations 12 and 16. Noise is drawn from `normal` only if `eta` > 0.
    """
    std, next_std = (process.sqrt_one_minus_alphas_cumprod[t] for t in (time, next_time))
    alpha, next_alpha = (process.alphas_cumprod[t] for t in (time, next_time))
    fresh_std = eta * next_std / std * (1 - alpha / next_alpha).clamp(min=0).sqrt()
    kept_std = (next_std**2 - fresh_std**2).clamp(min=0).sqrt()
    states = next_alpha.sqrt() * rows + kept_std * noise
    return states + fresh_std * normal(states) if eta > 0 else states
