"""Files of visitors from their arrival until they are read: on disk only as long as they wait for their turn."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedding_space.media import Medium
from web_app.desk import Busy
from web_app.uploads import Upload, known_ending

# How long a file stays whose request never came, and one that waits: longer than a full queue takes to be answered.
UNASKED_SECONDS, ASKED_SECONDS = 20.0, 600.0
SWEEP_SECONDS = 5.0  # how often such files are looked for


@dataclass
class Arrival:
    """A file that waits.

    Attributes:
        name: the visitor's.
        deadline: of `time.monotonic()`, after which it is deleted, read or not.
        session: the visitor's; None until the request to read it came.
    """

    name: str
    deadline: float
    session: str | None = None


class Arrivals:
    """Files that wait for their turn, each in a folder of its own whose name nobody can guess.

    Every method may be called from any thread.

    Args:
        folder: of the files; nothing else is in it.
        medium: of the files.
        most: how many may wait.
    """

    def __init__(self, folder: Path, medium: Medium, most: int):
        self.folder, self.most = folder, most
        self.medium: Medium = medium
        self._waiting: dict[Path, Arrival] = {}
        self._lock = threading.Lock()

    def add(self, upload: Upload) -> Path:
        """Write a file down; returns where. Raises Busy where as many wait as may."""
        path = self.folder / secrets.token_hex(16) / f"file{known_ending(upload.name, self.medium)}"
        with self._lock:
            if len(self._waiting) >= self.most:
                raise Busy(f"{self.most} files wait already: try again in a few seconds")
            self._waiting[path] = Arrival(upload.name, time.monotonic() + UNASKED_SECONDS)
        try:
            path.parent.mkdir(parents=True)
            path.write_bytes(upload.content)
        except OSError:
            self.delete([path])
            raise
        return path

    def name(self, path: Path) -> str:
        """The visitor's name of a file; that on disk for one that is gone."""
        with self._lock:
            return self._waiting[path].name if path in self._waiting else path.name

    def asked(self, paths: Sequence[Path], session: str) -> None:
        """A visitor's request to read these files waits in the queue."""
        with self._lock:
            for path in paths:
                if path in self._waiting:
                    self._waiting[path].session = session
                    self._waiting[path].deadline = time.monotonic() + ASKED_SECONDS

    def left(self, session: str) -> None:
        """A visitor went away: nobody waits for an answer."""
        with self._lock:
            paths = [path for path, arrival in self._waiting.items() if arrival.session == session]
        self.delete(paths)

    def sweep(self) -> None:
        """Delete the files whose time is over."""
        now = time.monotonic()
        with self._lock:
            paths = [path for path, arrival in self._waiting.items() if arrival.deadline <= now]
        self.delete(paths)

    def delete(self, paths: Sequence[Path]) -> None:
        """Delete files with their folders; those that are gone or were never here are passed over."""
        for path in paths:
            with self._lock:
                waiting = self._waiting.pop(path, None)
            if waiting is not None:
                shutil.rmtree(path.parent, ignore_errors=True)

    def clear(self) -> None:
        """Delete all files."""
        with self._lock:
            paths = list(self._waiting)
        self.delete(paths)
