"""The bridge: from a state at some timestep back to a clean text embedding, and its place in an alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.auto import rows_for_estimate
from alignment.step import NormalSampler, Step
from common.checkpoint import load_checkpoint
from ddpm.auto import estimate_image_timestep
from ddpm.diffusion import TextDiffusion
from ddpm.sampling import ddim_times
from embedding_space.store import EmbeddingStore


@torch.no_grad()
def reverse_diffusion(
    diffusion: TextDiffusion,
    states: Tensor,
    start_timestep: int,
    steps: int,
    eta: float = 0.0,
    normal: NormalSampler = torch.randn_like,
) -> Tensor:
    """States (B, D) at `start_timestep` in 1..T -> unit rows (B, D), in `steps` in 1..start_timestep DDIM steps.

    Deterministic with `eta` = 0; otherwise every step but the last draws noise from `normal`. For images the state
    is the centred unit row itself, without noise: Diffusion Bridge takes it for a text half-way through its noising.
    """
    for time, next_time in pairwise(ddim_times(start_timestep, steps)):
        states = diffusion.ddim_step(states, time, next_time, eta, normal)
    return F.normalize(states, dim=-1)


class DiffusionBridge(Step):
    """Diffusion Bridge's step: bring image rows to the texts' distribution, and texts through the same denoiser.

    Text side (augmentation while the decoder trains): noise to index `text_timestep`, denoise in `text_steps`; with
    text_timestep null, texts pass unchanged. Image side: take the row as the state at `image_timestep`, denoise in
    `image_steps`. With `eta` > 0 all images get the same noise, from a fixed seed: an image's result depends neither on
    the call nor on the rest of its batch.

    Args (JSON values): `diffusion`: `TextDiffusion.options()`; `from_store` takes a run folder of ddpm.train there.

    Raises ValueError for timesteps, steps or eta out of range.
    """

    inference_options = ("image_timestep", "image_steps")  # eta concerns both sides

    def __init__(
        self,
        diffusion: Mapping,
        text_timestep: int | None = 400,
        text_steps: int = 5,
        image_timestep: int = 600,
        image_steps: int = 5,
        eta: float = 0.0,
    ):
        super().__init__()
        self.diffusion = TextDiffusion(**diffusion).eval().requires_grad_(False)
        total = self.diffusion.timesteps
        if text_timestep is not None:  # an index of the noising chain, 0..T-1
            _check_range("text", text_timestep, text_steps, total - 1)
        _check_range("image", image_timestep, image_steps, total)
        if not 0 <= eta <= 1:
            raise ValueError(f"eta={eta} must lie in 0..1 (option alignment.eta)")
        self.text_timestep, self.text_steps = text_timestep, text_steps
        self.image_timestep, self.image_steps = image_timestep, image_steps
        self.eta = float(eta)

    def train(self, mode: bool = True) -> DiffusionBridge:
        """The diffusion model is finished: no dropout, even while the model that holds this step trains."""
        return super().train(False)

    def training_side(self, rows, normal):
        if self.text_timestep is None:
            return rows
        states = self.diffusion.add_noise(rows, self.text_timestep, normal(rows))
        return reverse_diffusion(self.diffusion, states, self.text_timestep, self.text_steps, self.eta, normal)

    def clean_side(self, rows):
        return rows

    def inference_side(self, rows):
        generator = torch.Generator().manual_seed(0)

        def same_for_all(like: Tensor) -> Tensor:
            return torch.randn(1, like.shape[1], generator=generator).to(like).expand_as(like)

        return reverse_diffusion(self.diffusion, rows, self.image_timestep, self.image_steps, self.eta, same_for_all)

    def options(self):
        return {
            "diffusion": self.diffusion.options(),
            "text_timestep": self.text_timestep,
            "text_steps": self.text_steps,
            "image_timestep": self.image_timestep,
            "image_steps": self.image_steps,
            "eta": self.eta,
        }

    @classmethod
    def from_store(cls, store, preceding, diffusion: str, estimate: Mapping | None = None, **options):
        """With image_timestep="auto", `estimate` says from which data it is set: see `rows_for_estimate`."""
        model = load_text_diffusion(diffusion)
        _check_prefix(model, preceding, store, diffusion)
        found = None
        if options.get("image_timestep") == "auto":
            found = estimate_image_timestep(model, rows_for_estimate(store, preceding, "image_timestep", estimate))
            options["image_timestep"] = found["value"]
            options["image_steps"] = min(options.get("image_steps", 5), found["value"])  # a step each, where t is small
        step = cls(model.options(), **options)
        step.diffusion.load_state_dict(model.state_dict())
        step.estimate = found
        return step


def load_text_diffusion(folder: str | Path) -> TextDiffusion:
    """The text diffusion model of a run folder of ddpm.train, in evaluation mode.

    Raises FileNotFoundError when there is none, ValueError when its files are damaged.
    """
    folder = Path(folder)
    return load_checkpoint(TextDiffusion, folder, "text diffusion model", "ddpm")


def _check_range(side: str, timestep: int, steps: int, highest: int) -> None:
    for name, value in ((f"{side}_timestep", timestep), (f"{side}_steps", steps)):
        if not isinstance(value, int):
            raise ValueError(f"{name}={value!r} must be a whole number (option alignment.{name})")
    if not 1 <= timestep <= highest:
        raise ValueError(f"{side}_timestep={timestep} must lie in 1..{highest} (option alignment.{side}_timestep)")
    if not 1 <= steps <= timestep:
        raise ValueError(
            f"{side}_steps={steps} must lie in 1..{side}_timestep={timestep} (option alignment.{side}_steps)"
        )


def _check_prefix(model: TextDiffusion, preceding: Sequence[Step], store: EmbeddingStore, folder: str) -> None:
    """Refuse a chain whose rows the model was not trained on: other steps before it, or another text mean."""
    preceding = [step for step in preceding if step.changes_training_rows]
    entries = [{"step": type(step).__name__, **step.options()} for step in preceding]
    if entries != model.prefix.options():
        raise ValueError(
            f"The text diffusion model in {folder} was trained on rows after {_names(model.prefix.options())}, but in "
            f"alignment.steps DiffusionBridge stands after {_names(entries)}: use the same steps, or train another "
            "model with python -m ddpm.train prefix=..."
        )
    unit = torch.eye(model.dim)
    ours, theirs = unit, model.prefix.training_side(unit)
    for step in preceding:
        ours = step.training_side(ours, torch.zeros_like)
    difference = (ours - theirs).abs().max().item()
    if difference > 1e-4:
        raise ValueError(
            f"The text mean of {store.path} is not the one that the text diffusion model in {folder} was trained "
            f"with (texts would differ by up to {difference:.2g}): run python -m ddpm.train with store={store.path}"
        )


def _names(entries: Sequence[Mapping]) -> str:
    texts = []
    for entry in entries:
        options = ", ".join(f"{name}={value}" for name, value in entry.items() if name != "step")
        texts.append(f"{entry['step']}({options})" if options else entry["step"])
    return ", ".join(texts) or "no step"
