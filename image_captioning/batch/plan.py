"""What is to be captioned: how many files each source has, and that no two have the same key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from tqdm import tqdm

from embedding_space.sources.source import Source

HASH_BYTES = 8
SHOWN = 3


@dataclass(frozen=True)
class Plan:
    """The files of all sources together.

    counts: of each source.
    digest: SHA-256 of all keys in order, and of the sizes of tar and Parquet files.
    """

    counts: list[int]
    digest: str

    @property
    def rows(self) -> int:
        return sum(self.counts)


def make_plan(sources: Sequence[Source], check_key: Callable[[str], object] = lambda key: None) -> Plan:
    """Count all files and look at all keys, 8 bytes of each on disk; no file is opened but tar and Parquet files.

    Args:
        check_key: raises ValueError for a key that the output cannot have.

    Raises:
        ValueError: two files have the same key; a source cannot be read; and as `check_key`.
    """
    digest, counts = hashlib.sha256(), []
    with TemporaryFile() as hashes, tqdm(desc="count files", unit="file", leave=False, delay=1) as bar:
        for source in sources:
            count = 0
            for row in source.rows():
                check_key(row.key)
                hashes.write(_hash(row.key))
                digest.update(_bytes(row.key) + b"\0")
                count += 1
                bar.update()
            digest.update(f"{source.size}\n".encode())
            counts.append(count)
        twice = _repeated(hashes, sum(counts))
    if twice:
        _refuse_duplicates(sources, twice)
    return Plan(counts, digest.hexdigest())


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _hash(key: str) -> bytes:
    return hashlib.blake2b(_bytes(key), digest_size=HASH_BYTES).digest()


def _repeated(file: IO[bytes], rows: int) -> set[bytes]:
    """The hashes that are there more than once. The file is sorted where it lies."""
    if rows < 2:
        return set()
    file.flush()
    hashes = np.memmap(file, dtype=f"<u{HASH_BYTES}", mode="r+", shape=(rows,))  # pyright: ignore[reportCallIssue, reportArgumentType]
    hashes.sort()
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    return {int(value).to_bytes(HASH_BYTES, "little") for value in repeated}


def _refuse_duplicates(sources: Sequence[Source], hashes: set[bytes]) -> None:
    """Raise ValueError naming keys that are really there twice; equal hashes of different keys are none."""
    where: dict[str, str] = {}
    twice: list[str] = []
    for source in sources:
        for row in source.rows():
            if _hash(row.key) not in hashes:
                continue
            if row.key in where:
                both = dict.fromkeys((where[row.key], source.name))
                twice.append(f"{row.key} in {' and '.join(both)}")
            where[row.key] = source.name
            if len(twice) > SHOWN:
                break
    if twice:
        listed = "; ".join(twice[:SHOWN]) + ("; ..." if len(twice) > SHOWN else "")
        raise ValueError(
            f"Some keys are there twice, so that captions could not be told apart ({listed}): name each file once, and "
            "give prefix_keys=true where several tar files number their samples alike"
        )
