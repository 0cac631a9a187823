"""Alignment: a gap-closing method as a chain of steps, the only code between the store and the decoder."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignment.options import step_type
from alignment.step import NormalSampler, Step, StepTypes
from alignment.steps import Center, Normalize
from embedding_space.encoders.identity import is_same_encoder
from embedding_space.store import EmbeddingStore

ROWS_AT_ONCE = 4096


class Alignment(nn.Module):
    """A chain of finished steps, as `nn.Sequential` is a chain of layers. All rows are computed in float32.

    For captioning, texts are on the training side and images on the inference side: the decoder trains on text
    embeddings after `training_side`. At inference it reads image embeddings after `inference_side`. For image
    generation the modalities change places (`EmbeddingStore.training_modality`).

    Args:
        steps: the last one must be `Normalize`, so that the decoder always sees unit rows.
        translation: a step that turns inference rows into training rows. They then go through the chain's clean
            training side, so that the decoder may have been trained with any chain.

    Attributes:
        estimated_from_pairs: whether options of a loaded captioner's chain had been estimated from pairs. The steps of
            a chain that was made `from_store` know it themselves.

    Raises:
        ValueError: the last step is not `Normalize`.
    """

    estimated_from_pairs = False

    def __init__(self, steps: Iterable[Step], translation: Step | None = None):
        super().__init__()
        self.steps = cast(Sequence[Step], nn.ModuleList(steps))
        self.translation = translation
        if not self.steps or not isinstance(self.steps[-1], Normalize):
            raise ValueError("alignment.steps must end with Normalize: the decoder expects unit rows")
        self.eval().requires_grad_(False)

    @classmethod
    def from_options(cls, entries: Iterable[Mapping], step_types: StepTypes) -> Alignment:
        """The chain of a checkpoint's entries (`options`); its tensors are zero until the checkpoint fills them."""
        types = ((step_type(entry, step_types), _options(entry)) for entry in entries)
        return cls(_build(step, options, step) for step, options in types)

    @classmethod
    def from_store(cls, entries: Iterable[Mapping], step_types: StepTypes, store: EmbeddingStore) -> Alignment:
        """The chain of a method's entries (`step_entries`), with means, memories and weights from `store` and the files
        that the entries name."""
        steps: list[Step] = []
        for entry in entries:
            step, options = step_type(entry, step_types), _options(entry)
            if unknown := set(options) - step.option_names():
                known = ", ".join(sorted(step.option_names())) or "none"
                raise ValueError(f"Alignment step {entry['step']} has no option {min(unknown)!r}; its options: {known}")
            steps.append(_build(step, options, partial(step.from_store, store, list(steps))))
        return cls(steps)

    def options(self) -> list[dict[str, Any]]:
        """The JSON entries that rebuild this chain, tensors aside. A translation's entry comes first."""
        first = [] if self.translation is None else [self.translation]
        return [{"step": type(step).__name__, **step.options()} for step in (*first, *self.steps)]

    @property
    def estimates(self) -> list[dict[str, Any]]:
        """How `from_store` set the options that are `auto` (see `Step.estimate`)."""
        return [step.estimate for step in self.steps if step.estimate is not None]

    @property
    def hash(self) -> str:
        """Identity of the chain: its steps, options and tensors."""
        digest = hashlib.sha256(json.dumps(self.options(), sort_keys=True).encode())
        for tensor in self.state_dict().values():
            digest.update(tensor.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def training_side(self, rows: Tensor, normal: NormalSampler = torch.randn_like) -> Tensor:
        """Embeddings (B, D) -> unit rows (B, D) to train on, with fresh randomness from `normal`."""
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float()
            for step in self.steps:
                rows = step.training_side(rows, normal)
        return rows

    @torch.no_grad()
    def clean_side(self, rows: Tensor) -> Tensor:
        """`training_side` without augmentation: where a perfect alignment maps the other modality."""
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float()
            for step in self.steps:
                rows = step.clean_side(rows)
        return rows

    @torch.no_grad()
    def inference_side(self, rows: Tensor) -> Tensor:
        """Embeddings (B, D) of the other modality -> unit rows (B, D) that the trained decoder can read."""
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float()
            if self.translation is not None:
                return self.clean_side(self.translation.inference_side(F.normalize(rows, dim=-1)))
            for step in self.steps:
                rows = step.inference_side(rows)
        return rows

    @property
    def _inference_steps(self) -> list[Step]:
        return list(self.steps) if self.translation is None else [self.translation]

    @property
    def centers_inference_rows(self) -> bool:
        """Whether a mean is subtracted from inference rows."""
        return any(isinstance(step, Center) for step in self._inference_steps)

    @property
    def uses_pairs(self) -> bool:
        """Whether a step was trained on image-text pairs, or an option estimated from some, which makes the method not
        text-only."""
        steps = (*self.steps, *self._inference_steps)
        estimates = (step.estimate or {} for step in steps)
        by_estimates = self.estimated_from_pairs or any(estimate.get("uses_pairs", False) for estimate in estimates)
        return by_estimates or any(step.uses_pairs for step in steps)

    @property
    def inference_dim(self) -> int | None:
        """The width of the inference rows if their space is not that of the training rows, else None."""
        return next((step.inference_dim for step in self._inference_steps if step.inference_dim is not None), None)

    @property
    def inference_encoder(self) -> Mapping | None:
        """The description of the inference rows' encoder if it may differ from the texts' encoder, else None."""
        encoders = (step.inference_encoder for step in self._inference_steps)
        return next((encoder for encoder in encoders if encoder is not None), None)

    def reads_rows_of(self, encoder: Mapping[str, Any]) -> bool:
        """Whether inference rows are in the space of this encoder's embeddings, before the chain."""
        theirs = self.inference_encoder
        return theirs is None or is_same_encoder(theirs, encoder)

    def move_encoders(self, move: Callable[[Mapping], Mapping]) -> None:
        """Change where the encoders that the steps describe have their files, see `Step.move_encoders`."""
        for step in self.steps:
            step.move_encoders(move)

    def with_inference_mean(self, mean: Tensor) -> Alignment:
        """A copy of the chain with another mean (D,) of inference rows, of unit rows.

        Raises:
            ValueError: the chain subtracts no such mean.
        """
        if not self.centers_inference_rows:
            raise ValueError(
                "This method subtracts no image mean, so there is none to replace: leave image_mean_from=checkpoint"
            )
        chain = copy.deepcopy(self)
        for step in chain.steps:
            if isinstance(step, Center):
                step.inference_mean.copy_(mean)
        return chain

    def with_inference_options(self, options: Mapping[str, Any]) -> Alignment:
        """A copy of the chain with other values of its `Step.inference_options`. They do not change the training side,
        so that a trained decoder still fits.

        Raises:
            ValueError: no step has such an option, or the step refuses the value.
        """
        if options and self.translation is not None:
            raise ValueError(
                f"image_side.{next(iter(options))} has no effect, since translated images go through the alignment's "
                "training side: leave out image_side or translation=..."
            )
        known = {name: type(step).__name__ for step in self.steps for name in step.inference_options}
        if unknown := sorted(set(options) - set(known)):
            listed = ", ".join(f"{name} ({step})" for name, step in known.items()) or "none"
            raise ValueError(f"This method's inference side has no option image_side.{unknown[0]}; known: {listed}")
        steps = []
        for step in self.steps:
            changed = {name: options[name] for name in step.inference_options if name in options}
            try:
                steps.append(step.with_inference_options(**changed) if changed else step)
            except ValueError as error:
                raise ValueError(str(error).replace("alignment.", "image_side.")) from error
        chain = Alignment(steps, self.translation)
        chain.estimated_from_pairs = self.estimated_from_pairs
        return chain

    def check_training_side(self, other: Alignment, dim: int) -> None:
        """Check that `other` does the same in training, noise included, so that a model trained with one chain can read
        rows of the other modality aligned by the other.

        Both chains process the same rows of `dim` values with the same noise. Comparing their steps would not do:
        chains of different steps may have the same training side, such as one with a text memory and one without.

        Raises:
            ValueError: `other` does something else.
        """
        rows = F.normalize(torch.randn(64, dim, generator=torch.Generator().manual_seed(0)), dim=-1)
        sides = []
        for chain in (self, other):
            generator = torch.Generator().manual_seed(1)

            def noise(like: Tensor, generator: torch.Generator = generator) -> Tensor:
                return torch.randn(like.shape, generator=generator).to(like)

            placed = rows.to(next(chain.buffers(), rows).device)
            sides.append(torch.cat([chain.training_side(placed, noise), chain.clean_side(placed)]).cpu())
        difference = (sides[0] - sides[1]).abs().max().item()
        if difference > 1e-4:
            raise ValueError(
                "alignment=... does something else in training than the alignment that the model was trained with "
                f"(rows differ by up to {difference:.2g}), so the model cannot read its rows: choose one with the same "
                "training side, or train another model with it"
            )

    def restore(self) -> Alignment:
        """After loading a checkpoint, fetch the tensors that were too large to save (see `Step.restore`)."""
        for index, step in enumerate(self.steps):
            step.restore(self.steps[:index])
        return self


def _build(step: type[Step], options: Mapping, make: Callable[..., Step]) -> Step:
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise ValueError(f"Alignment step {step.__name__} does not take the options {options}: {error}") from error
    return make(**options)


def _options(entry: Mapping) -> dict:
    return {name: value for name, value in entry.items() if name != "step"}


def in_parts(
    side: Callable[[Tensor], Tensor], rows: Tensor, device: torch.device | None = None, rows_at_once: int = ROWS_AT_ONCE
) -> Tensor:
    """One side of a chain, computed in parts: rows (N, D) -> (N, D').

    Args:
        device: where to compute, by default the rows' device. The result is on the rows' device.
    """
    return torch.cat([side(part.to(device or rows.device)).to(rows.device) for part in rows.split(rows_at_once)])
