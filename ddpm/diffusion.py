"""TextDiffusion: a diffusion model of text embeddings on denoising-diffusion-pytorch's GaussianDiffusion1D."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from pydantic import Field
from torch import Tensor, nn

from alignment.chain import Alignment
from alignment.step import NormalSampler
from alignment.steps import BASIC_STEPS
from common.checks import Positive, checked_options
from ddpm.denoisers import build_denoiser
from ddpm.sampling import NoisingProcess, ddim_update
from embedding_space.store import TrainingModality

Schedule = Literal["linear", "cosine"]
Objective = Literal["pred_x0", "pred_noise", "pred_v"]
LossWeighting = Literal["snr", "min-snr", "constant"]
EmbedScale = Positive | Literal["sqrt_dim"]
Timesteps = Annotated[int, Field(ge=2)]
MIN_SNR_GAMMA = 5.0
ROWS_AT_ONCE = 4096

MODEL_CARD = """---
{{ card_data }}
---

A diffusion model of embeddings (Diffusion Bridge), trained by `python -m ddpm.train` on the rows that the alignment
steps `prefix` of `config.json` make; `modality` there says whose embeddings they are. Load it with
`ddpm.bridge.load_text_diffusion(folder)`.
"""


def loss_weights(snr: Tensor, loss_weighting: LossWeighting, objective: Objective) -> Tensor:
    """(T,) weights of the squared error of what the network predicts, from weights defined on the error of x0.

    Those are `snr`, `min-snr` = min(snr, 5) (arXiv 2303.09556, section 3.4) or `constant` = 1. The squared error of the
    noise is that of x0 times snr, and that of v is that of x0 times snr + 1, hence the divisions. `snr` gives the
    package's weights.
    """
    on_x0 = {
        "snr": snr,
        "min-snr": snr.clamp(max=MIN_SNR_GAMMA),
        "constant": torch.ones_like(snr),
    }[loss_weighting]
    return on_x0 / {"pred_x0": torch.ones_like(snr), "pred_noise": snr, "pred_v": snr + 1}[objective]


class _Network(nn.Module):
    """The denoiser, on a state that is first scaled to the length `norm` unless that is None. Its output is float32."""

    def __init__(self, denoiser: nn.Module, norm: float | None):
        super().__init__()
        self.denoiser = denoiser
        self.norm = norm

    def forward(self, states: Tensor, times: Tensor) -> Tensor:
        if self.norm is not None:
            states = self.norm * F.normalize(states, dim=-1)
        # Float32 under autocast too: near the end of the cosine schedule x0 = 20,000 (x_t - noise).
        return self.denoiser(states, times).float()


def row_length(embed_scale: EmbedScale, dim: int) -> float:
    """The length of scaled rows (N, dim): a number, or sqrt(dim) for "sqrt_dim"."""
    return math.sqrt(dim) if embed_scale == "sqrt_dim" else float(embed_scale)


class TextDiffusion(nn.Module, PyTorchModelHubMixin, model_card_template=MODEL_CARD):
    """A denoising diffusion model of text embeddings, after Diffusion Bridge's.

    Rows go in and come out at unit length. A *state* (B, D) is a noised row in the same unit, x_t / embed_scale:
    `embed_scale` never leaves this class. Arguments are JSON values, so that a checkpoint can be rebuilt.

    Args:
        dim: D, the embedding dimension.
        denoiser: `{"kind": "mlp" or "unet1d", **options}`.
        timesteps: T, the length of the noising chain.
        schedule: of the noise.
        objective: what the network predicts.
        loss_weighting: of the x0 error, whatever the objective. Beware of "constant" with "pred_noise": at the end of
            the cosine schedule it weighs the noise error by 4e8.
        embed_scale: length of rows before unit noise is added, or "sqrt_dim" for sqrt(D), which gives their coordinates
            unit mean square. It determines how much of a row is left at t: cos(x_t, x_0) depends on
            embed_scale / sqrt(D).
        renormalize_state: scale every state to the length of a clean row, both as the network's input in training and
            at the start of each denoising step. Meaningful with pred_x0 only.
        prefix: JSON entries of the alignment steps that the training rows have been through; their means are
            saved with the model. Default: Normalize, Center, Normalize.
        modality: whose embeddings it models. Those of images serve image generation.

    Raises:
        ValueError: values outside these.
    """

    @checked_options("diffusion.")
    def __init__(
        self,
        dim: int,
        denoiser: Mapping,
        timesteps: Timesteps = 1000,
        schedule: Schedule = "cosine",
        objective: Objective = "pred_x0",
        loss_weighting: LossWeighting = "constant",
        embed_scale: EmbedScale = 5.0,
        renormalize_state: bool = True,
        prefix: Sequence[Mapping] | None = None,
        modality: TrainingModality = "texts",
    ):
        super().__init__()
        if renormalize_state and objective != "pred_x0":
            raise ValueError(
                f"diffusion.renormalize_state=true needs diffusion.objective=pred_x0, not {objective}: from a "
                "renormalized state the noise cannot be recovered (set diffusion.renormalize_state=false)"
            )
        self.dim, self.embed_scale, self.renormalize_state = dim, row_length(embed_scale, dim), renormalize_state
        self._options = {
            "dim": dim,
            "denoiser": dict(denoiser),
            "timesteps": timesteps,
            "schedule": schedule,
            "objective": objective,
            "loss_weighting": loss_weighting,
            "embed_scale": self.embed_scale,  # as a number
            "renormalize_state": self.renormalize_state,
            "modality": modality,
        }
        if prefix is None:
            prefix = [{"step": "Normalize"}, {"step": "Center", "dim": dim}, {"step": "Normalize"}]
        self.prefix = Alignment.from_options(prefix, BASIC_STEPS)
        network = _Network(build_denoiser(dim, denoiser), self.embed_scale if renormalize_state else None)
        self.process = NoisingProcess(network, dim, timesteps, schedule, objective)
        # alpha / (1 - alpha) from the rounded alpha would be 0.1 % off at t = 0; this buffer is exact.
        snr = self.process.sqrt_recipm1_alphas_cumprod.double() ** -2
        self.process.loss_weight = loss_weights(snr, loss_weighting, objective).float()

    @property
    def modality(self) -> TrainingModality:
        return self._options["modality"]

    @property
    def timesteps(self) -> int:
        return self.process.num_timesteps

    def options(self) -> dict[str, Any]:
        """The JSON constructor values that rebuild this model, tensors aside."""
        return {**self._options, "prefix": self.prefix.options()}

    def forward(self, rows: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Weighted training losses (B,): unit rows (B, D), timesteps (B,) in [0, T), standard normal noise (B, D)."""
        return self.process.p_losses(self.embed_scale * rows, times, noise, loss_reduction="none")

    def add_noise(self, rows: Tensor, timestep: int, noise: Tensor) -> Tensor:
        """q(x_t | x_0): unit rows (B, D), index t in [0, T), standard normal noise (B, D) -> states (B, D)."""
        times = torch.full((len(rows),), timestep, device=rows.device)
        return self.process.q_sample(self.embed_scale * rows, times, noise) / self.embed_scale

    def expected_cosine(self, timestep: int) -> float:
        """Expected cosine of a unit row, noised to index t in [0, T), to itself: 1 / sqrt(1 + D / (s² SNR_t))."""
        alpha = self.process.alphas_cumprod[timestep].item()
        return (1 + self.dim * (1 - alpha) / (alpha * self.embed_scale**2)) ** -0.5

    def ddim_step(
        self, states: Tensor, time: int, next_time: int, eta: float = 0.0, normal: NormalSampler = torch.randn_like
    ) -> Tensor:
        """States (B, D) at `time` -> states at `next_time` < time; those at -1 are the predicted clean rows.

        DDIM, arXiv 2010.02502, equations 12 and 16. The prediction of x0 is not clamped. Noise is drawn from
        `normal` only if `eta` > 0 and `next_time` >= 0; eta = 1 with next_time = time - 1 is the DDPM posterior.
        """
        if self.renormalize_state:
            states = F.normalize(states, dim=-1)
        states = self.embed_scale * states
        noise, rows = self._predict(states, time)
        if next_time < 0:
            return rows / self.embed_scale
        states = ddim_update(self.process, rows, noise, time, next_time, eta, normal)
        return states / self.embed_scale

    def _predict(self, states: Tensor, time: int) -> tuple[Tensor, Tensor]:
        """Scaled states (B, D) at `time` -> predicted noise and x0 (B, D), in parts that fit into memory."""
        parts = []
        for part in states.split(ROWS_AT_ONCE):
            times = torch.full((len(part),), time, device=part.device)
            parts.append(self.process.model_predictions(part, times, clip_x_start=False))
        return torch.cat([part.pred_noise for part in parts]), torch.cat([part.pred_x_start for part in parts])
