"""The desk: everything that a visitor may ask, answered from loaded models. It keeps nothing of any visitor."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from embedding_space.encoders.base import EncodedImages
from embedding_space.media import Medium
from image_captioning.inspect_captions import Beam, Word, word_log_probabilities
from web_app.captioners import Answering, find_method
from web_app.methods import Method
from web_app.way import Way, way

NEAR = 8  # texts of the memory that are listed
NEAR_IN_PLANE = 60  # texts that are drawn around the way

Encoded = dict[str, EncodedImages]
"""One visitor's encoded files, by checkpoint. No picture is in it."""


class Busy(RuntimeError):
    """As many requests wait as may."""


class Turnstile:
    """Lets one request at a time to the models, and a bounded number wait: more would only wait longer.

    Args:
        waiting: how many may be inside, the one that is answered included.
    """

    def __init__(self, waiting: int):
        self.waiting, self._inside = waiting, 0
        self._count, self._models = threading.Lock(), threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue. Raises Busy where there is none."""
        with self._count:
            if self._inside >= self.waiting:
                raise Busy(f"{self.waiting} requests wait already: try again in a few seconds")
            self._inside += 1
        try:
            yield
        finally:
            with self._count:
                self._inside -= 1

    @contextmanager
    def models(self) -> Iterator[None]:
        """The models, for one request at a time: torch's own switches are those of the process."""
        with self._models:
            yield


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
        caption: by greedy search, or the consensus's.
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


class Desk:
    """Answers visitors. What it is asked with is all that it knows of them.

    Args:
        answering: the page's checkpoint first, then those that answer beside it.
        queue_size: how many requests may wait.
    """

    def __init__(self, answering: Sequence[Answering], queue_size: int):
        self.answering = {each.name: each for each in answering}
        self.turnstile = Turnstile(queue_size)

    @property
    def main(self) -> Answering:
        """The page's checkpoint."""
        return next(iter(self.answering.values()))

    @property
    def medium(self) -> Medium:
        return self.main.encoder.medium

    def encode(self, paths: Sequence[Path], only_main: bool = False) -> Encoded:
        """Encode files by each checkpoint's encoder, or by the first one's; those that share one share the rows."""
        encoded: dict[tuple[int, bool], EncodedImages] = {}
        asked = {self.main.name: self.main} if only_main else self.answering
        for each in asked.values():
            key = (id(each.encoder), each.captioner.reads_patches)
            if key not in encoded:
                shards = each.encoder.encode_image_shards(paths, [range(len(paths))], each.captioner.reads_patches)
                encoded[key] = next(iter(shards))
        return {name: encoded[id(each.encoder), each.captioner.reads_patches] for name, each in asked.items()}

    def method(self, name: object, bridge: Bridge | None = None) -> Method:
        """A method of the page's checkpoint; the bridge's values change those that have one.

        Raises:
            ValueError: no such method, or a value out of range.
        """
        method = find_method(self.main, name)
        return method if bridge is None or method.bridge is None else method.with_bridge(bridge.timestep, bridge.steps)

    def captions(self, encoded: Encoded, bridge: Bridge) -> list[Answer]:
        """The caption of one encoded file by every method, and by every other checkpoint."""
        main, known = self.main, encoded[self.main.name]
        answers = [_answer(main, known, self.method(name, bridge)) for name in main.methods]
        others = list(self.answering.values())[1:]
        return answers + [_answer(each, encoded[each.name], each.whole) for each in others]

    def inside(self, encoded: Encoded, name: object, bridge: Bridge) -> Inside:
        """What is behind a method's caption of one encoded file. Raises ValueError as `method`."""
        main, known, method = self.main, encoded[self.main.name], self.method(name, bridge)
        caption = main.captions(known, method)[0]
        inputs = main.inputs(known, method)
        return Inside(
            method.name,
            caption,
            word_log_probabilities(main.captioner, inputs, [caption])[0],
            main.beams(known, method),
            _near(main, known, method),
            _way(main, known, method, caption),
        )

    def warm_up(self, path: Path) -> None:
        """Answer once, so that the first visitor waits no longer than others. `path` is any file of the medium."""
        encoded = self.encode([path])
        self.captions(encoded, Bridge())
        for name in self.main.methods:
            self.inside(encoded, name, Bridge())


def _answer(answering: Answering, encoded: EncodedImages, method: Method) -> Answer:
    try:
        caption = answering.captions(encoded, method)[0]
    except ValueError as error:  # such as a checkpoint without an image mean: the other methods still answer
        return Answer(answering.name, method.name, method.does, None, str(error))
    return Answer(answering.name, method.name, method.does, caption)


def _near(answering: Answering, encoded: EncodedImages, method: Method) -> list[NearText]:
    memory = answering.memory
    if memory is None:
        return []
    row = memory.chain.inference_side(encoded.rows.to(memory.rows.device))[0]  # (D,)
    after = method.chain.inference_side(encoded.rows.to(memory.rows.device))[0]
    nearest = (memory.rows @ row).topk(min(NEAR, len(memory.rows)))
    after_cosines = (memory.rows[nearest.indices] @ after).tolist()
    texts = [memory.captions[number] for number in nearest.indices.tolist()]
    return [NearText(*values) for values in zip(texts, nearest.values.tolist(), after_cosines, strict=True)]


def _way(answering: Answering, encoded: EncodedImages, method: Method, caption: str) -> Way | None:
    chain, memory = answering.captioner.alignment, answering.memory
    if chain.translation is not None or not answering.encoder.joint:
        return None
    device = answering.captioner.device
    text = method.chain.clean_side(answering.encoder.encode_texts([caption]).to(device))[0]  # (D,)
    near = torch.empty(0, len(text))
    if memory is not None:
        row = memory.chain.inference_side(encoded.rows.to(device))[0]
        near = memory.rows[(memory.rows @ row).topk(min(NEAR_IN_PLANE, len(memory.rows))).indices].cpu()
    path_row = F.normalize(encoded.rows[0], dim=-1).to(device)
    return way(method.chain, path_row, text, near.to(device))
