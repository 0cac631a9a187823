"""Fixtures: a tiny captioner with random weights, made without a store, and an encoder that knows no media."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import training.loop
from alignment.chain import Alignment
from embedding_space.encoders.base import Encoder
from embedding_space.media import Packed
from image_captioning.alignments import STEPS
from image_captioning.build import build_captioner
from image_captioning.captioner import Captioner
from image_captioning.tokenizer import train_tokenizer

CAPTIONS = ["a dog on a beach", "two cats, and a boat", "a red car near the old house", "one bird"]
DIM = 8


class BytesEncoder(Encoder):
    """Files of any medium as their first eight bytes."""

    def __init__(self, medium: str = "image", **options):
        super().__init__(device="cpu", **options)
        self.medium, self.dims, self.description = medium, {"images": 8, "texts": 8}, {"name": f"{medium} bytes"}

    @property
    def load(self):
        return _load

    def image_features(self, pictures):
        return pictures


def _load(file):
    content = file.content if isinstance(file, Packed) else file.read_bytes()
    if len(content) < 8:
        raise ValueError(f"{file} cannot be read")
    return torch.tensor(list(content[:8])).float() - 128


@pytest.fixture
def bytes_encoder() -> type[Encoder]:
    """The class of an encoder of files of any medium."""
    return BytesEncoder


@pytest.fixture
def make_captioner():
    """A factory of tiny captioners whose random weights are large enough for varied captions."""

    def make(mapper: dict | None = None, alignment: list | None = None, scale: float = 8.0, **config) -> Captioner:
        torch.manual_seed(0)
        steps = alignment or [{"step": "Normalize"}, {"step": "GaussianNoise", "noise_std": 0.1}, {"step": "Normalize"}]
        gpt2 = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 48}
        captioner = build_captioner(
            dim=DIM,
            alignment=Alignment.from_options(steps, STEPS),
            tokenizer=train_tokenizer(CAPTIONS),
            mapper=mapper or {"kind": "mlp", "prefix_length": 3},
            encoder={"name": "words"},
            provenance={"uses_pairs": False},
            config={**gpt2, **config},
        )
        with torch.no_grad():
            for parameter in (*captioner.mapper.parameters(), captioner.decoder.transformer.wte.weight):
                parameter.mul_(scale)
        return captioner.eval()

    return make


@pytest.fixture
def interrupted(monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Runs a training that is interrupted, as by Ctrl-C, at step 2."""
    factor = training.loop.learning_rate_factor

    def break_at_two(step, *rest):
        if step == 2:
            raise KeyboardInterrupt
        return factor(step, *rest)

    def run(train: Callable[[], object]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(training.loop, "learning_rate_factor", break_at_two)
            with pytest.raises(KeyboardInterrupt):
                train()

    return run
