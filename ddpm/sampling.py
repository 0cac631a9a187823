"""DDIM's times and update as pure functions (arXiv 2010.02502)."""

from __future__ import annotations

from denoising_diffusion_pytorch import GaussianDiffusion1D
from torch import Tensor

from alignment.step import NormalSampler


def ddim_times(start_timestep: int, steps: int) -> list[int]:
    """The steps + 1 network times from start_timestep - 1 down to -1 (the clean row), evenly spaced, rounded down.

    The off-by-one is the reference's: a row noised with index 400 is first shown to the network as time 399.
    """
    return [index * start_timestep // steps - 1 for index in range(steps, -1, -1)]


def ddim_update(
    process: GaussianDiffusion1D,
    rows: Tensor,
    noise: Tensor,
    time: int,
    next_time: int,
    eta: float = 0.0,
    normal: NormalSampler | None = None,
) -> Tensor:
    """Predicted clean rows and noise (B, D) at `time` -> states (B, D) at `next_time`, 0 <= next_time < time.

    DDIM, arXiv 2010.02502, equations 12 and 16; noise is drawn from `normal` only if `eta` > 0.
    """
    std, next_std = (process.sqrt_one_minus_alphas_cumprod[t] for t in (time, next_time))
    alpha, next_alpha = (process.alphas_cumprod[t] for t in (time, next_time))
    fresh_std = eta * next_std / std * (1 - alpha / next_alpha).clamp(min=0).sqrt()
    kept_std = (next_std**2 - fresh_std**2).clamp(min=0).sqrt()
    states = next_alpha.sqrt() * rows + kept_std * noise
    return states + fresh_std * normal(states) if eta > 0 else states
