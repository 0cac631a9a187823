"""Loading files in threads while the model works: for streams, whose files come one after the other.

Files that can be looked up in any order are loaded by processes (`Encoder.encode_image_shards`). Here one thread reads
the stream and others decode, which Pillow, torchvision and FFmpeg do side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import Empty, Full, Queue
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import NamedTuple, TypeVar, cast

from torch import Tensor

from common.characters import one_line
from embedding_space.encoders.base import Attempt, Loaded, attempt, collate_readable
from embedding_space.media import Medium, Packed
from embedding_space.sources.source import Content

POLL_SECONDS = 0.1
READER, DECODER = "read ahead", "decode ahead"  # names of threads
# Files that a thread takes: handing over each alone would cost more than decoding a small picture. A video is worth it.
FILES_AT_ONCE: Mapping[Medium, int] = {"image": 16, "sound": 4, "video": 1}
T = TypeVar("T")


class KeyedBatch(NamedTuple):
    """A batch of files, and all their keys."""

    keys: list[str]
    loaded: Loaded


def load_in_threads(
    files: Iterable[tuple[str, Content | ValueError]],
    load: Callable[[Path], Tensor],
    medium: Medium,
    sizes: Iterable[int],
    batch_size: int,
    threads: int,
) -> Generator[KeyedBatch]:
    """Files in batches, each shard's after the other's; the next batch is loaded while one is worked on.

    Args:
        files: (key, file) each, or why there is none; iterated in a thread of its own.
        load: `Encoder.load`, called in threads.
        sizes: how many files each shard has; no batch crosses from one into the next.
        threads: that decode.

    Decoded files wait in memory: at most a batch and, for each thread and two more, `FILES_AT_ONCE`; beside them is the
    batch that was given.
    """
    stream, at_once = iter(files), FILES_AT_ONCE[medium]
    batch_groups = -(-batch_size // at_once)

    def start(pool: ThreadPoolExecutor) -> Iterator[tuple[list[str], Future[list[Attempt]]]]:
        while some := list(islice(stream, at_once)):
            yield [key for key, _ in some], pool.submit(_attempt_all, load, medium, [file for _, file in some])

    def loaded(loading: Iterator[tuple[list[str], Future[list[Attempt]]]]) -> Iterator[tuple[str, Attempt]]:
        for keys, attempts in loading:
            yield from zip(keys, attempts.result(), strict=True)

    with ThreadPoolExecutor(threads, DECODER) as pool:
        loading = ahead(start(pool), batch_groups + threads)
        attempts = loaded(loading)
        try:
            for size in sizes:
                for first in range(0, size, batch_size):
                    batch = list(islice(attempts, min(batch_size, size - first)))
                    keyed = KeyedBatch([key for key, _ in batch], collate_readable([item for _, item in batch]))
                    del batch  # its files are in memory once while the model works
                    yield keyed
        finally:
            loading.close()
            pool.shutdown(cancel_futures=True)


def _attempt_all(load: Callable[[Path], Tensor], medium: Medium, files: list[Content | ValueError]) -> list[Attempt]:
    return [_attempt(load, medium, file) for file in files]


def _attempt(load: Callable[[Path], Tensor], medium: Medium, file: Content | ValueError) -> Attempt:
    """Load a file; whatever is wrong with it, the others of the stream are loaded, too."""
    if isinstance(file, ValueError):
        return None, str(file)
    try:
        if medium == "image" or not isinstance(file, Packed):
            return attempt(load, file)
        # Pillow reads from memory; FFmpeg wants a file with its ending.
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"file{Path(file.name.removesuffix(')')).suffix}"
            path.write_bytes(file.content)
            loaded, reason = attempt(load, path)
            return loaded, reason.replace(str(path), str(file))
    except ImportError:  # nothing could be loaded
        raise
    except Exception as error:
        return None, f"{file} cannot be loaded: {type(error).__name__}: {one_line(error)}"


def ahead(items: Iterator[T], count: int) -> Generator[T]:
    """The items, taken in a thread of its own while the consumer works, at most so many ahead of it.

    An error of `items` is raised where its item would have come.
    """
    queue: Queue[tuple[bool, T | BaseException | None]] = Queue(count)
    stopped = Event()

    def put(entry: tuple[bool, T | BaseException | None]) -> bool:
        while not stopped.is_set():
            with suppress(Full):
                queue.put(entry, timeout=POLL_SECONDS)
                return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = Thread(target=produce, name=READER, daemon=True)
    thread.start()
    try:
        while True:
            more, entry = queue.get()
            if more:
                yield cast(T, entry)
            elif isinstance(entry, BaseException):
                raise entry
            else:
                return
    finally:
        stopped.set()
        with suppress(Empty):  # a producer that waits for room sees the event soon
            queue.get_nowait()
        thread.join()
