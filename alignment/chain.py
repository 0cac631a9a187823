"""Alignment: a gap-closing method as a chain of steps, the only code between the store and the decoder."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignment.step import NormalSampler, Step
from alignment.steps import Center
from embedding_space.store import EmbeddingStore

# A downloaded file must not choose what code runs: the names it may use, and where each lives, are fixed here.
STEP_MODULES = {
    "Normalize": "alignment.steps",
    "Center": "alignment.steps",
    "GaussianNoise": "alignment.steps",
    "TextMemory": "alignment.memory",
    "DiffusionBridge": "ddpm.bridge",
    "ModalityTranslation": "modality_translation.step",
}


def step_class(name: str) -> type[Step]:
    """The class of a step by its registered name; an unknown name is a ValueError that lists the known ones."""
    if name not in STEP_MODULES:
        raise ValueError(f"Unknown alignment step {name!r} (option alignment.steps); known: {', '.join(STEP_MODULES)}")
    return getattr(import_module(STEP_MODULES[name]), name)


def _step_and_options(entry: Mapping, from_store: bool) -> tuple[type[Step], dict]:
    """The class that an entry names and its options; a ValueError names those that the step does not take or lacks."""
    options = dict(entry)
    if "step" not in options:
        raise ValueError(f"An entry of alignment.steps needs a key 'step'; got {options}")
    name = options.pop("step")
    step = step_class(name)
    accepted = dict(inspect.signature(step).parameters)
    if from_store:
        _, _, *own = inspect.signature(step.from_store).parameters.values()  # after store and preceding
        passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own)
        accepted = (accepted if passes_on else {}) | {p.name: p for p in own if p.kind is not p.VAR_KEYWORD}
    keywords = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in accepted.values()]
    try:
        inspect.Signature(keywords).bind(**options)
    except TypeError as error:
        raise ValueError(f"Alignment step {name} does not take the options {options}: {error}") from error
    return step, options


def text_side(steps: Iterable[Mapping]) -> list[dict]:
    """What of a config's steps concerns texts. Chains for which it is equal do the same to texts, so that a decoder
    that was trained through one of them reads what the others make of images.

    A step that learned from pairs, or that is estimated (perhaps from pairs), is kept whole: a decoder is marked by it.
    """
    kept: list[dict] = []
    for entry in steps:
        step, own = step_class(entry["step"]), dict(entry)
        if not step.uses_pairs and "auto" not in own.values():
            own = {name: value for name, value in own.items() if name not in (*step.image_options, "estimate")}
            if not step.changes_texts or (kept and own == kept[-1] == {"step": "Normalize"}):
                continue
        kept.append(own)
    return kept


class Alignment(nn.Module):
    """A chain of steps. Its last step must be Normalize, so that the decoder always sees unit rows.

    Args:
        steps: JSON entries `{"step": name, **constructor values}`; tensors start at zero and come with a checkpoint.
    """

    def __init__(self, steps: Iterable[Mapping]):
        super().__init__()
        chosen = (_step_and_options(entry, from_store=False) for entry in steps)
        self.steps = nn.ModuleList(step(**options) for step, options in chosen)
        self._check()

    def _check(self) -> None:
        if not self.steps or type(self.steps[-1]).__name__ != "Normalize":
            raise ValueError("alignment.steps must end with Normalize: the decoder expects unit rows")

    @classmethod
    def from_store(cls, steps: Iterable[Mapping], store: EmbeddingStore) -> Alignment:
        """Build a method's chain, filling means, memories and diffusion weights from `store` and the files it names."""
        built: list[Step] = []
        for entry in steps:
            step, options = _step_and_options(entry, from_store=True)
            built.append(step.from_store(store, list(built), **options))
        return cls._chain(built)

    @classmethod
    def _chain(cls, steps: Iterable[Step]) -> Alignment:
        """A chain of finished steps, which it may share with another."""
        chain = cls([{"step": "Normalize"}])
        chain.steps = nn.ModuleList(steps)
        chain._check()
        return chain.eval().requires_grad_(False)

    def options(self) -> list[dict]:
        """The JSON entries that rebuild this chain (tensors aside)."""
        return [{"step": type(step).__name__, **step.options()} for step in self.steps]

    @property
    def estimates(self) -> list[dict]:
        """How options that were given as `auto` were set by `from_store` (see `Step.estimate`)."""
        return [step.estimate for step in self.steps if step.estimate is not None]

    @property
    def hash(self) -> str:
        """Identity of the chain: its steps, options and tensors."""
        digest = hashlib.sha256(json.dumps(self.options(), sort_keys=True).encode())
        for tensor in self.state_dict().values():
            digest.update(tensor.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def text(self, rows: Tensor, normal: NormalSampler = torch.randn_like) -> Tensor:
        """Text embeddings (B, D) -> unit rows (B, D), with fresh randomness from `normal`."""
        for step in self.steps:
            rows = step.text(rows, normal)
        return rows

    @torch.no_grad()
    def image(self, rows: Tensor) -> Tensor:
        """Image embeddings (B, D) -> unit rows (B, D) that the text-trained decoder can read."""
        for step in self.steps:
            rows = step.image(rows)
        return rows

    @torch.no_grad()
    def clean_text(self, rows: Tensor) -> Tensor:
        """Text embeddings (B, D) -> unit rows (B, D) without augmentation: where a perfect alignment puts images."""
        for step in self.steps:
            rows = step.clean_text(rows)
        return rows

    @property
    def centers_images(self) -> bool:
        """Whether an image mean is subtracted anywhere in the chain."""
        return any(type(step) is Center for step in self.steps)

    @property
    def uses_pairs(self) -> bool:
        """Whether a step was trained on image-text pairs, so that a method with it is not text-only."""
        return any(step.uses_pairs for step in self.steps)

    @property
    def image_dim(self) -> int | None:
        """The width of the image rows that the chain takes, where it is another space than the texts'; else None."""
        return next((step.image_dim for step in self.steps if step.image_dim is not None), None)

    @property
    def image_encoder(self) -> Mapping | None:
        """The description of the encoder that image rows must come from, where it need not be the texts'; else None."""
        return next((step.image_encoder for step in self.steps if step.image_encoder is not None), None)

    def with_image_mean(self, mean: Tensor) -> Alignment:
        """A copy of the chain that subtracts `mean` (D,), of unit rows, from images in place of its own image mean.

        Raises ValueError for a chain that subtracts none.
        """
        if not self.centers_images:
            raise ValueError(
                "This method subtracts no image mean, so there is none to replace: leave image_mean_from=checkpoint"
            )
        chain = copy.deepcopy(self)
        for step in chain.steps:
            if type(step) is Center:
                step.image_mean.copy_(mean)
        return chain

    def with_image_side(self, options: Mapping[str, Any]) -> Alignment:
        """A copy of the chain with other values of options that concern its image side alone (`Step.image_options`): a
        decoder that was trained on its text side reads it as before.

        Raises ValueError for an option that no step has, or a value that its step refuses.
        """
        known = {name: type(step).__name__ for step in self.steps for name in step.image_options}
        if unknown := sorted(set(options) - set(known)):
            listed = ", ".join(f"{name} ({step})" for name, step in known.items()) or "none"
            raise ValueError(f"This method's image side has no option image_side.{unknown[0]}; known: {listed}")
        steps = []
        for step in self.steps:
            own = {name: options[name] for name in step.image_options if name in options}
            try:
                steps.append(step.with_image_options(**own) if own else step)
            except ValueError as error:
                raise ValueError(str(error).replace("option alignment.", "option image_side.")) from error
        return self._chain(steps)

    def check_text_side(self, other: Alignment, dim: int) -> None:
        """Raise a ValueError unless `other` does the same to texts, noise included, so that a decoder trained on the
        one reads what the other makes of images.

        Both are tried on the same rows of `dim` values with the same noise: chains of other steps may have the same
        text side, as with a text memory, which images alone go through.
        """
        rows = F.normalize(torch.randn(64, dim, generator=torch.Generator().manual_seed(0)), dim=-1)
        sides = []
        for chain in (self, other):
            generator = torch.Generator().manual_seed(1)

            def noise(like: Tensor, generator: torch.Generator = generator) -> Tensor:
                return torch.randn(like.shape, generator=generator).to(like)

            own = rows.to(next(chain.buffers(), rows).device)
            sides.append(torch.cat([chain.text(own, noise), chain.clean_text(own)]).cpu())
        difference = (sides[0] - sides[1]).abs().max().item()
        if difference > 1e-4:
            raise ValueError(
                "alignment=... does something else to texts than the alignment that the captioner was trained with "
                f"(rows differ by up to {difference:.2g}), so its decoder could not read it: take one with the same "
                "text side, or train another captioner with python -m image_captioning.train alignment=..."
            )

    def restore(self) -> Alignment:
        """After loading a checkpoint: fetch what was too large to be saved with it (see `Step.restore`)."""
        for index, step in enumerate(self.steps):
            step.restore(self.steps[:index])
        return self
