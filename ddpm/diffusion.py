"""TextDiffusion: a diffusion model of text embeddings on denoising-diffusion-pytorch's GaussianDiffusion1D."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from denoising_diffusion_pytorch import GaussianDiffusion1D
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from alignment.chain import Alignment
from alignment.step import NormalSampler
from alignment.steps import BASIC_STEPS
from ddpm.denoisers import build_denoiser
from ddpm.sampling import ddim_update

CHOICES = {
    "schedule": ("linear", "cosine"),
    "objective": ("pred_x0", "pred_noise", "pred_v"),
    "loss_weighting": ("snr", "min-snr", "constant"),
}
MIN_SNR_GAMMA = 5.0
ROWS_AT_ONCE = 4096

MODEL_CARD = """---
{{ card_data }}
---

A diffusion model of text embeddings (Diffusion Bridge), trained by `python -m ddpm.train` on the rows that the
alignment steps `prefix` of `config.json` make. Load it with `ddpm.bridge.load_text_diffusion(folder)`.
"""


def loss_weights(snr: Tensor, loss_weighting: str, objective: str) -> Tensor:
    """(T,) weights of the squared error of what the network predicts, from weights defined on the error of x0.

    On x0: `snr`, `min-snr` = min(snr, 5) (arXiv 2303.09556, section 3.4) or `constant` = 1. The squared
    error of a noise is that of x0 times snr, of a v times snr + 1, hence the divisions; `snr` gives the package's own
    weights.
    """
    on_x0 = {
        "snr": snr,
        "min-snr": snr.clamp(max=MIN_SNR_GAMMA),
        "constant": torch.ones_like(snr),
    }[loss_weighting]
    return on_x0 / {"pred_x0": torch.ones_like(snr), "pred_noise": snr, "pred_v": snr + 1}[objective]


class _Network(nn.Module):
    """What the package calls: the denoiser on a state that is renormalised first if asked, its output in float32."""

    def __init__(self, denoiser: nn.Module, norm: float | None):
        super().__init__()
        self.denoiser = denoiser
        self.norm = norm

    def forward(self, states: Tensor, times: Tensor) -> Tensor:
        if self.norm is not None:
            states = self.norm * F.normalize(states, dim=-1)
        # Float32 under autocast too: near the end of the cosine schedule x0 = 20,000 (x_t - noise).
        return self.denoiser(states, times).float()


def scale_of_rows(embed_scale: float | str, dim: int, option: str) -> float:
    """The length that rows of D dimensions are given: a number above 0, or sqrt(D) for "sqrt_dim". ValueError else."""
    if embed_scale == "sqrt_dim":
        return math.sqrt(dim)
    if isinstance(embed_scale, (str, bool)) or not 0 < embed_scale < math.inf:
        raise ValueError(f"embed_scale={embed_scale} must be positive, or sqrt_dim (option {option})")
    return float(embed_scale)


class TextDiffusion(nn.Module, PyTorchModelHubMixin, model_card_template=MODEL_CARD):
    """A denoising diffusion model of text embeddings, after Diffusion Bridge's.

    Rows go in and come out at unit length. A *state* (B, D) is a noised row in the same unit, x_t / embed_scale:
    `embed_scale` never leaves this class.

    Args (JSON values, so that a checkpoint can be rebuilt):
        dim: D, the embedding dimension.
        denoiser: `{"kind": "mlp" or "unet1d", **options}`.
        timesteps: T, steps of the noising chain.
        schedule: "cosine" or "linear" noise schedule.
        objective: what the network predicts: "pred_x0", "pred_noise" or "pred_v".
        loss_weighting: "snr", "min-snr" or "constant", on the x0 error whatever the objective. Beware of
            "constant" with "pred_noise": at the end of the cosine schedule it weighs the noise error by 4e8.
        embed_scale: length that rows are given before unit noise is added, or "sqrt_dim" for sqrt(D), which gives
            their coordinates unit mean square. It sets how much of a row is left at t: cos(x_t, x_0) depends on
            embed_scale / sqrt(D).
        renormalize_state: give every state the length of a clean row, both as the network's input in training and
            as the state that each denoising step starts from. Meaningful with pred_x0 only.
        prefix: JSON entries of the alignment steps that the training rows have been through; their means are
            saved with the model. Default: Normalize, Center, Normalize.

    Raises ValueError for values outside these.
    """

    def __init__(
        self,
        dim: int,
        denoiser: Mapping,
        timesteps: int = 1000,
        schedule: str = "cosine",
        objective: str = "pred_x0",
        loss_weighting: str = "constant",
        embed_scale: float | str = 5.0,
        renormalize_state: bool = True,
        prefix: Sequence[Mapping] | None = None,
    ):
        super().__init__()
        for name, value in (
            ("schedule", schedule), ("objective", objective), ("loss_weighting", loss_weighting)
        ):  # fmt: skip
            if value not in CHOICES[name]:
                raise ValueError(
                    f"{name}={value!r} must be one of {', '.join(CHOICES[name])} (option diffusion.{name})"
                )
        embed_scale = scale_of_rows(embed_scale, dim, "diffusion.embed_scale")
        if timesteps < 2:
            raise ValueError(f"timesteps={timesteps} must be at least 2 (option diffusion.timesteps)")
        if renormalize_state and objective != "pred_x0":
            raise ValueError(
                f"renormalize_state=true needs objective=pred_x0, not {objective}: from a renormalised state the noise "
                "is not recoverable (set diffusion.renormalize_state=false)"
            )
        self.dim, self.embed_scale, self.renormalize_state = dim, float(embed_scale), bool(renormalize_state)
        self._options = {
            "dim": dim,
            "denoiser": dict(denoiser),
            "timesteps": timesteps,
            "schedule": schedule,
            "objective": objective,
            "loss_weighting": loss_weighting,
            "embed_scale": self.embed_scale,  # as a number, whatever word stood for it
            "renormalize_state": self.renormalize_state,
        }
        if prefix is None:
            prefix = [{"step": "Normalize"}, {"step": "Center", "dim": dim}, {"step": "Normalize"}]
        self.prefix = Alignment.from_options(prefix, BASIC_STEPS)
        self.process = GaussianDiffusion1D(
            _Network(build_denoiser(dim, denoiser), self.embed_scale if renormalize_state else None),
            seq_length=dim,
            channels=1,
            self_condition=False,
            auto_normalize=False,
            timesteps=timesteps,
            objective=objective,
            beta_schedule=schedule,
        )
        # alpha / (1 - alpha) from the rounded alpha would be 0.1 % off at t = 0; this buffer has all its digits.
        snr = self.process.sqrt_recipm1_alphas_cumprod.double() ** -2
        self.process.loss_weight = loss_weights(snr, loss_weighting, objective).float()

    @property
    def timesteps(self) -> int:
        return self.process.num_timesteps

    def options(self) -> dict:
        """The JSON constructor values that rebuild this model (tensors aside)."""
        return {**self._options, "prefix": self.prefix.options()}

    def forward(self, rows: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Weighted training losses (B,): unit rows (B, D), timesteps (B,) in [0, T), standard normal noise (B, D)."""
        return self.process.p_losses(self.embed_scale * rows, times, noise, loss_reduction="none")

    def add_noise(self, rows: Tensor, timestep: int, noise: Tensor) -> Tensor:
        """q(x_t | x_0): unit rows (B, D), index t in [0, T), standard normal noise (B, D) -> states (B, D)."""
        times = torch.full((len(rows),), timestep, device=rows.device)
        return self.process.q_sample(self.embed_scale * rows, times, noise) / self.embed_scale

    def expected_cosine(self, timestep: int) -> float:
        """What a unit row noised to index t in [0, T) keeps of its cosine to itself: 1 / sqrt(1 + D / (s² SNR_t))."""
        alpha = self.process.alphas_cumprod[timestep].item()
        return (1 + self.dim * (1 - alpha) / (alpha * self.embed_scale**2)) ** -0.5

    def ddim_step(
        self, states: Tensor, time: int, next_time: int, eta: float = 0.0, normal: NormalSampler | None = None
    ) -> Tensor:
        """States (B, D) at `time` -> states at `next_time` < time; at -1 they are the predicted clean rows.

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
