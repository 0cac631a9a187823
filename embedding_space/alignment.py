"""Alignment: a gap-closing method as a chain of steps, the only code between the store and the decoder."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from importlib import import_module

import torch
from torch import Tensor, nn

from embedding_space.steps import Center, NormalSampler, Step
from embedding_space.store import EmbeddingStore

# A downloaded file must not choose what code runs: the names it may use, and where each lives, are fixed here.
STEP_MODULES = {
    "Normalize": "embedding_space.steps",
    "Center": "embedding_space.steps",
    "GaussianNoise": "embedding_space.steps",
    "TextMemory": "embedding_space.steps",
    "DiffusionBridge": "ddpm.bridge",
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
        chain = cls([{"step": "Normalize"}])
        chain.steps = nn.ModuleList()
        for entry in steps:
            step, options = _step_and_options(entry, from_store=True)
            chain.steps.append(step.from_store(store, list(chain.steps), **options))
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

    def restore(self) -> Alignment:
        """After loading a checkpoint: fetch what was too large to be saved with it (see `Step.restore`)."""
        for index, step in enumerate(self.steps):
            step.restore(self.steps[:index])
        return self
