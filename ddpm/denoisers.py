"""The networks inside a text diffusion model: (B, D) states and (B,) times -> (B, D) predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from denoising_diffusion_pytorch import Unet1D
from pydantic import Field
from torch import Tensor, nn

from common.checks import Count, Share, Whole, checked_options
from common.registry import look_up

TimeWidth = Annotated[int, Field(ge=4, multiple_of=2)]


class TimeEmbedding(nn.Module):
    """(B,) timesteps -> (B, width): sines and cosines (DDPM, arXiv 2006.11239, section 4), then a small MLP."""

    frequencies: Tensor

    def __init__(self, width: TimeWidth):
        super().__init__()
        half = width // 2
        frequencies = torch.exp(-math.log(10_000) * torch.arange(half) / (half - 1))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, times: Tensor) -> Tensor:
        angles = times[:, None] * self.frequencies  # (B, width / 2)
        return self.mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))


class ModulatedBlock(nn.Module):
    """Residual MLP block whose normalization and output are scaled by the time (adaLN-Zero: DiT, arXiv 2212.09748)."""

    def __init__(self, width: int, hidden: int, time_width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(time_width, 3 * width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        nn.init.zeros_(self.modulation.weight)  # a new block is the identity
        nn.init.zeros_(self.modulation.bias)

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        scale, shift, gate = self.modulation(time).chunk(3, dim=-1)  # (B, width) each
        return features + gate * self.mlp(self.norm(features) * (1 + scale) + shift)


class ResidualMLP(nn.Module):
    """A residual MLP over whole rows: (B, dim) states, (B,) times -> (B, dim).

    Args:
        width: of the residual stream; by default `dim`, at least 256. Below `dim` it is a bottleneck.
        depth: residual blocks.
        expansion: hidden width of a block over `width`.
        time_width: of the time embedding.
        dropout: inside the blocks.
    """

    @checked_options("denoiser.")
    def __init__(
        self,
        dim: int,
        width: Count | None = None,
        depth: Whole = 4,
        expansion: Count = 2,
        time_width: TimeWidth = 128,
        dropout: Share = 0.0,
    ):
        super().__init__()
        width = width or max(dim, 256)
        self.time = TimeEmbedding(time_width)
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(ModulatedBlock(width, expansion * width, time_width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, dim)

    def forward(self, states: Tensor, times: Tensor) -> Tensor:
        time = self.time(times)  # (B, time_width)
        features = self.enter(states)  # (B, width)
        for block in self.blocks:
            features = block(features, time)
        return self.leave(self.norm(features))


class ConvolutionalUNet(nn.Module):
    """denoising-diffusion-pytorch's `Unet1D` over the row as a sequence of `dim` scalars: (B, D) -> (B, D).

    Args:
        width: the package's `dim`. 32 with the default multipliers gives 3.98 M parameters, the reference's size.
        multipliers: width of each resolution over `width`; each after the first halves the length.
        dropout: inside the residual blocks.

    Raises:
        ValueError: `dim` cannot be halved that often.
    """

    @checked_options("denoiser.")
    def __init__(
        self,
        dim: int,
        width: Count = 32,
        multipliers: Sequence[Count] = (1, 2, 4, 8),
        dropout: Share = 0.0,
    ):
        super().__init__()
        divisor = 2 ** (len(multipliers) - 1)
        if dim % divisor:
            raise ValueError(
                f"The U-Net halves its input {len(multipliers) - 1} times (option denoiser.multipliers), but the "
                f"embeddings' {dim} dimensions are not divisible by {divisor}: use denoiser=mlp or fewer multipliers"
            )
        self.unet = Unet1D(dim=width, dim_mults=tuple(multipliers), channels=1, dropout=dropout)

    def forward(self, states: Tensor, times: Tensor) -> Tensor:
        return self.unet(states[:, None, :], times)[:, 0, :]  # (B, 1, D) inside


DENOISERS = {"mlp": ResidualMLP, "unet1d": ConvolutionalUNet}


def build_denoiser(dim: int, options: Mapping) -> nn.Module:
    """The network that `options["kind"]` names, over rows of `dim`; the other options are its arguments.

    Raises:
        ValueError: an unknown kind or option.
    """
    options = dict(options)
    denoiser = look_up(options.pop("kind", None), DENOISERS, "denoiser kind", "denoiser.kind")
    return denoiser(dim, **options)
