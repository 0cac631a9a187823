"""The bridge: from a state at some timestep back to a clean embedding, as a step of an alignment."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.auto_noise import rows_for_estimate
from alignment.step import NormalSampler, Step
from common.checkpoint import load_checkpoint
from common.checks import Count, Share, checked_options
from common.errors import OtherModel
from ddpm.auto_timestep import estimate_image_timestep
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

    It is deterministic with `eta` = 0; otherwise every step but the last draws noise from `normal`. An image's state is
    its centered unit row without noise: Diffusion Bridge treats it as a text half-way through its noising.
    """
    return _clean_rows(reverse_states(diffusion, states, start_timestep, steps, eta, normal))


@torch.no_grad()
def reverse_states(
    diffusion: TextDiffusion,
    states: Tensor,
    start_timestep: int,
    steps: int,
    eta: float = 0.0,
    normal: NormalSampler = torch.randn_like,
) -> Iterator[tuple[int, Tensor]]:
    """The states (B, D) of `reverse_diffusion` after each of its steps, with their timesteps, from high ones to 0."""
    for time, next_time in pairwise(ddim_times(start_timestep, steps)):
        states = diffusion.ddim_step(states, time, next_time, eta, normal)
        yield next_time + 1, states


def _clean_rows(states: Iterator[tuple[int, Tensor]]) -> Tensor:
    """The last of `reverse_states` as unit rows (B, D)."""
    ((_, rows),) = deque(states, maxlen=1)  # the others are not kept
    return F.normalize(rows, dim=-1)


class DiffusionBridge(Step):
    """Diffusion Bridge's step: bring image rows to the texts' distribution, and texts through the same denoiser.

    For image generation it is the other way round: a diffusion model of image embeddings brings texts to the images'
    distribution, and `image_*` are the options of the inference side all the same.

    Args:
        diffusion: `TextDiffusion.options()`; for `from_store`, a run folder of ddpm.train.
        text_timestep: index to which texts are noised while the decoder trains, as augmentation; None passes texts
            unchanged.
        text_steps: in which noised texts are denoised.
        image_timestep: timestep at which an image row is taken as a state.
        image_steps: in which images are denoised.
        eta: share of fresh noise in a step, from 0 (DDIM) to 1 (DDPM). All images get the same noise, from a fixed
            seed, so that an image's result depends neither on the call nor on the rest of its batch.

    Raises:
        ValueError: timesteps, steps or eta out of range.
    """

    inference_options = ("image_timestep", "image_steps")  # eta concerns both sides

    @checked_options("alignment.")
    def __init__(
        self,
        diffusion: Mapping,
        text_timestep: Count | None = 400,
        text_steps: Count = 5,
        image_timestep: Count = 600,
        image_steps: Count = 5,
        eta: Share = 0.0,
    ):
        super().__init__()
        self.diffusion = TextDiffusion(**diffusion).eval().requires_grad_(False)
        total = self.diffusion.timesteps
        if text_timestep is not None:  # an index of the noising chain, 0..T-1
            _check_range("text", text_timestep, text_steps, total - 1)
        _check_range("image", image_timestep, image_steps, total)
        self.text_timestep, self.text_steps = text_timestep, text_steps
        self.image_timestep, self.image_steps = image_timestep, image_steps
        self.eta = eta

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
        return _clean_rows(self.inference_states(rows))

    def inference_states(self, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The way of rows (B, D) through the inference side: states (B, D) and their timesteps, from high ones to 0."""
        generator = torch.Generator().manual_seed(0)

        def same_for_all(like: Tensor) -> Tensor:
            return torch.randn(1, like.shape[1], generator=generator).to(like).expand_as(like)

        return reverse_states(self.diffusion, rows, self.image_timestep, self.image_steps, self.eta, same_for_all)

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
        """For image_timestep="auto", `estimate` says which data it is estimated from: see `EstimateOptions`."""
        model = load_text_diffusion(diffusion)
        _check_prefix(model, preceding, store, diffusion)
        estimated = None
        if options.get("image_timestep") == "auto":
            estimated = estimate_image_timestep(model, rows_for_estimate(store, preceding, "image_timestep", estimate))
            options["image_timestep"] = estimated["value"]
            options["image_steps"] = min(options.get("image_steps", 5), estimated["value"])  # at most one step per time
        step = cls(model.options(), **options)
        step.diffusion.load_state_dict(model.state_dict())
        step.estimate = estimated
        return step


def load_text_diffusion(folder: str | Path) -> TextDiffusion:
    """The text diffusion model of a run folder of ddpm.train, in evaluation mode.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its files are damaged.
    """
    return load_checkpoint(TextDiffusion, folder, "text diffusion model", "ddpm")


def _check_range(side: str, timestep: int, steps: int, highest: int) -> None:
    if timestep > highest:
        raise ValueError(f"alignment.{side}_timestep={timestep} must be in 1..{highest}")
    if steps > timestep:
        raise ValueError(f"alignment.{side}_steps={steps} must be in 1..alignment.{side}_timestep={timestep}")


def _check_prefix(model: TextDiffusion, preceding: Sequence[Step], store: EmbeddingStore, folder: str) -> None:
    """Refuse a chain whose rows the model was not trained on: other steps before it, or another text mean."""
    if model.modality != store.training_modality:
        raise OtherModel(
            f"The diffusion model in {folder} is one of {model.modality}, and this alignment has "
            f"{store.training_modality} on its training side. Give another folder by alignment.diffusion=..., or "
            "train one",
            "ddpm",
            f"modality={store.training_modality}",
        )
    preceding = [step for step in preceding if step.changes_training_rows]
    entries = [{"step": type(step).__name__, **step.options()} for step in preceding]
    if entries != model.prefix.options():
        raise OtherModel(
            f"The text diffusion model in {folder} was trained on rows after {_names(model.prefix.options())}, but in "
            f"alignment.steps DiffusionBridge is after {_names(entries)}. Use the same steps, or for another model",
            "ddpm",
            "prefix=...",
        )
    unit = torch.eye(model.dim)
    ours, theirs = unit, model.prefix.training_side(unit)
    for step in preceding:
        ours = step.training_side(ours, torch.zeros_like)
    difference = (ours - theirs).abs().max().item()
    if difference > 1e-4:
        part = "" if store.corpus_captions is None else f" corpus_captions={store.corpus_captions}"
        raise OtherModel(
            f"The text mean of {store.path} is not the one that the text diffusion model in {folder} was trained "
            f"with (texts would differ by up to {difference:.2g})",
            "ddpm",
            f"store={store.path}{part}",
        )


def _names(entries: Sequence[Mapping]) -> str:
    texts = []
    for entry in entries:
        options = ", ".join(f"{name}={value}" for name, value in entry.items() if name != "step")
        texts.append(f"{entry['step']}({options})" if options else entry["step"])
    return ", ".join(texts) or "no step"
