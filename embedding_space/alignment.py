"""Alignment: a gap-closing method as a chain of steps, the only code between the store and the decoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import import_module

import torch
from torch import Tensor, nn

from embedding_space.steps import NormalSampler, Step
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


def _construct(entry: Mapping, build) -> Step:
    entry = dict(entry)
    if "step" not in entry:
        raise ValueError(f"An entry of alignment.steps needs a key 'step'; got {entry}")
    name = entry.pop("step")
    try:
        return build(step_class(name), entry)
    except TypeError as error:
        raise ValueError(f"Alignment step {name} does not take the options {entry}: {error}") from error


class Alignment(nn.Module):
    """A chain of steps. Its last step must be Normalize, so that the decoder always sees unit rows.

    Args:
        steps: JSON entries `{"step": name, **constructor values}`; tensors start at zero and come with a checkpoint.
    """

    def __init__(self, steps: Iterable[Mapping]):
        super().__init__()
        self.steps = nn.ModuleList(_construct(entry, lambda cls, options: cls(**options)) for entry in steps)
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
            preceding = list(chain.steps)
            chain.steps.append(_construct(entry, lambda c, o, p=preceding: c.from_store(store, p, **o)))
        chain._check()
        return chain.eval().requires_grad_(False)

    def options(self) -> list[dict]:
        """The JSON entries that rebuild this chain (tensors aside)."""
        return [{"step": type(step).__name__, **step.options()} for step in self.steps]

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

    def restore(self) -> Alignment:
        """After loading a checkpoint: fetch what was too large to be saved with it (see `Step.restore`)."""
        for index, step in enumerate(self.steps):
            step.restore(self.steps[:index])
        return self
