"""The desk: everything that a visitor may ask, answered from loaded models. It keeps nothing of any visitor."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from embedding_space.encoders.base import EncodedImages
from embedding_space.media import Medium
from web_app.captioners import Answering
from web_app.look import Bridge, Encoded, Look


class Busy(RuntimeError):
    """As many requests wait as may."""


class Turnstile:
    """Lets one request at a time to the models, and a bounded number wait: more would only wait longer.

    Args:
        waiting: how many may be inside, the one that is answered included.
    """

    def __init__(self, waiting: int):
        self.waiting, self.inside = waiting, 0
        self._count, self._models = threading.Lock(), threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue. Raises Busy where there is none."""
        with self._count:
            if self.inside >= self.waiting:
                raise Busy(f"{self.waiting} requests wait already: try again in a few seconds")
            self.inside += 1
        try:
            yield
        finally:
            with self._count:
                self.inside -= 1

    @contextmanager
    def models(self) -> Iterator[None]:
        """The models, for one request at a time: torch's own switches are those of the process."""
        with self._models:
            yield


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

    def look(self, encoded: Encoded, bridge: Bridge) -> Look:
        """A look at one encoded file. Raises ValueError for a value of the bridge that is out of range."""
        return Look(self.main, list(self.answering.values())[1:], encoded, bridge)
