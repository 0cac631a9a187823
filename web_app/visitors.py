"""Who is there: of a visitor who left, nothing stays, neither on disk nor in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import MutableMapping
from typing import Any

from web_app.arrivals import ASKED_SECONDS, Arrivals


class Visitors:
    """The sessions of the page.

    Every method may be called from any thread.

    Args:
        arrivals: files of visitors that wait.
        states: {session: what gradio keeps of it}, embeddings and the page's last HTML among it.
    """

    def __init__(self, arrivals: Arrivals, states: MutableMapping[str, Any]):
        self.arrivals, self.states = arrivals, states
        self._left: dict[str, float] = {}  # {session: until when its state may come back}
        self._lock = threading.Lock()

    def came(self, session: str) -> None:
        """A visitor's page is open, for the first time or again."""
        with self._lock:
            self._left.pop(session, None)

    def left(self, session: str) -> None:
        """A visitor went away: their files and state are forgotten."""
        with self._lock:
            self._left[session] = time.monotonic() + ASKED_SECONDS
        self.arrivals.left(session)
        self.states.pop(session, None)

    def sweep(self) -> None:
        """Forget what is late, and states that an answer still under way made anew after its visitor had left."""
        self.arrivals.sweep()
        with self._lock:
            self._left = {session: end for session, end in self._left.items() if end > time.monotonic()}
            for session in self._left:
                self.states.pop(session, None)

    def clear(self) -> None:
        """Forget everything: the server stops."""
        self.arrivals.clear()
        self.states.clear()
