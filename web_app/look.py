"""A look at one encoded file: the caption of every method, and what is behind one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from embedding_space.encoders.base import EncodedImages
from image_captioning.inspect_captions import Beam, Word, word_log_probabilities
from web_app.captioners import Answering
from web_app.methods import Method
from web_app.way import Way, way

NEAR = 8  # texts of the memory that are listed
NEAR_IN_PLANE = 60  # texts that are drawn around the way
Encoded = dict[str, EncodedImages]
"""One visitor's encoded files, by checkpoint. No picture is in it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Bridge:
    """What the sliders say; None: the checkpoint's own value."""

    timestep: int | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Answer:
    """A method's caption; or why it has none."""

    checkpoint: str
    method: str
    does: str
    caption: str | None
    problem: str | None = None


@dataclass(frozen=True)
class NearText:
    """A text of the memory near the image.

    Attributes:
        cosine: to the image's row, the means subtracted.
        cosine_after: to the row that the decoder reads.
    """

    text: str
    cosine: float
    cosine_after: float


@dataclass(frozen=True)
class Inside:
    """What is behind one method's caption.

    Attributes:
        words: how likely each is; the empty one at the end is the end of the caption.
        beams: all hypotheses, best first.
        near: texts of the memory near the image; none without a memory.
        way: from image to text; None where the image is in another space.
    """

    method: str
    caption: str
    words: list[Word]
    beams: list[Beam]
    near: list[NearText]
    way: Way | None


class Look:
    """One question about one encoded file. What two answers need is computed once.

    Args:
        main: the page's checkpoint.
        others: those that answer beside it.
        encoded: the file, by checkpoint.
        bridge: for all methods of `main` that have one.

    Raises:
        ValueError: a value of the bridge is out of range.
    """

    def __init__(self, main: Answering, others: list[Answering], encoded: Encoded, bridge: Bridge):
        self.main, self.others, self.encoded = main, others, encoded
        self.row = encoded[main.name]
        self.methods = moved_methods(main.methods, bridge)
        self._inputs: dict[int, Any] = {}
        self._beams: dict[int, list[Beam]] = {}
        self._captions: dict[str, str | ValueError] = {}

    def answers(self) -> list[Answer]:
        """The caption of every method, and of every other checkpoint by its own."""
        self._caption_greedily()
        answers = []
        for name, method in self.methods.items():
            said = _attempt(lambda name=name: self.caption(name))
            answers.append(_answer(self.main.name, method, said))
        for other in self.others:
            said = _attempt(lambda other=other: other.captions(self.encoded[other.name], other.whole)[0])
            answers.append(_answer(other.name, other.whole, said))
        return answers

    def caption(self, name: str) -> str:
        """The caption of a method. Raises ValueError as its chain does."""
        if name not in self._captions:
            method = self.methods[name]
            self._captions[name] = _attempt(lambda: self._consensus(method)) if method.consensus else self._greedy(name)
        said = self._captions[name]
        if isinstance(said, ValueError):
            raise said
        return said

    def inside(self, name: object) -> Inside:
        """What is behind a method's caption. Raises ValueError for an unknown method, or as its chain does."""
        method = self.methods[self.main.method(name).name]
        caption = self.caption(method.name)
        words = word_log_probabilities(self.main.captioner, self._inputs_of(method), [caption])[0]
        return Inside(
            method.name, caption, words, self._beams_of(method), self._near(method), self._way(method, caption)
        )

    def _caption_greedily(self) -> None:
        """Caption by all greedy methods in one batch, where their inputs are rows: most of the time goes into steps."""
        ready: dict[str, Tensor] = {}
        for name, method in self.methods.items():
            if not method.consensus and name not in self._captions:
                inputs = _attempt(lambda method=method: self._inputs_of(method))
                if isinstance(inputs, ValueError):
                    self._captions[name] = inputs
                elif isinstance(inputs, Tensor):
                    ready[name] = inputs
        if ready:
            captions = self.main.caption_inputs(torch.cat(list(ready.values())))
            self._captions |= zip(ready, captions, strict=True)

    def _greedy(self, name: str) -> str | ValueError:
        return _attempt(lambda: self.main.caption_inputs(self._inputs_of(self.methods[name]))[0])

    def _consensus(self, method: Method) -> str:
        ranked = self._beams_of(method)
        scores = torch.tensor([[beam.score for beam in ranked]])
        return self.main.choose(self.row, [beam.caption for beam in ranked], scores)

    def _inputs_of(self, method: Method) -> Any:
        key = id(method.chain)
        if key not in self._inputs:
            self._inputs[key] = self.main.inputs(self.row, method)
        return self._inputs[key]

    def _beams_of(self, method: Method) -> list[Beam]:
        key = id(method.chain)
        if key not in self._beams:
            self._beams[key] = self.main.beams(self._inputs_of(method))
        return self._beams[key]

    def _near(self, method: Method) -> list[NearText]:
        memory = self.main.memory
        if memory is None:
            return []
        rows = self.row.rows.to(memory.rows.device)
        nearest = self._nearest(NEAR)
        after = memory.rows[nearest.indices] @ method.chain.inference_side(rows)[0]
        texts = [memory.captions[number] for number in nearest.indices.tolist()]
        each = zip(texts, nearest.values.tolist(), after.tolist(), strict=True)
        return [NearText(*values) for values in each]

    def _nearest(self, count: int) -> Any:
        """Cosines and numbers of the memory's texts that are nearest to the image, the means subtracted."""
        memory = self.main.memory
        assert memory is not None
        row = memory.chain.inference_side(self.row.rows.to(memory.rows.device))[0]  # (D,)
        return (memory.rows @ row).topk(min(count, len(memory.rows)))

    def _way(self, method: Method, caption: str) -> Way | None:
        encoder, memory, device = self.main.encoder, self.main.memory, self.main.captioner.device
        if method.chain.translation is not None or not encoder.joint:
            return None
        text = method.chain.clean_side(encoder.encode_texts([caption]).to(device))[0]  # (D,)
        near = text.new_empty(0, len(text)) if memory is None else memory.rows[self._nearest(NEAR_IN_PLANE).indices]
        return way(method.chain, F.normalize(self.row.rows[0], dim=-1).to(device), text, near)


def moved_methods(methods: Mapping[str, Method], bridge: Bridge) -> dict[str, Method]:
    """The methods with the bridge's values; those that share a chain still do. Raises ValueError out of range."""
    chains = {}
    for method in methods.values():
        if id(method.chain) not in chains:
            moves = method.bridge is not None
            moved = method.with_bridge(bridge.timestep, bridge.steps) if moves else method
            chains[id(method.chain)] = moved.chain
    return {name: replace(method, chain=chains[id(method.chain)]) for name, method in methods.items()}


def _attempt(do: Callable[[], T]) -> T | ValueError:
    """What it gives, or its error: a checkpoint without an image mean still answers by its other methods."""
    try:
        return do()
    except ValueError as error:
        return error


def _answer(checkpoint: str, method: Method, said: str | ValueError) -> Answer:
    if isinstance(said, ValueError):
        return Answer(checkpoint, method.name, method.does, None, str(said))
    return Answer(checkpoint, method.name, method.does, said)
