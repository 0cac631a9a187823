"""Shards: the rows of a store that are encoded and written together, so that an interruption loses little."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.files import whole_file, write_whole


@dataclass(frozen=True)
class Shard:
    """Rows `rows` of `images` (and their patches) or of `texts`, in `folder`: one array each, and a JSON file, written
    last, that says that they are whole."""

    folder: Path
    modality: str
    rows: range

    def _path(self, array: str, ending: str) -> Path:
        return self.folder / f"{array}_{self.rows.start:09d}.{ending}"

    @property
    def facts(self) -> dict[str, Any] | None:
        """{"rows", "sha256" of each array, "unreadable" {row: reason}, "cut_texts"}; None when the shard is not
        written yet."""
        path = self._path(self.modality, "json")
        if not path.exists():
            return None
        facts = json.loads(path.read_text())
        return facts if facts["rows"] == [self.rows.start, self.rows.stop] else None

    def write(self, arrays: Mapping[str, np.ndarray], unreadable: Mapping[int, str], cut_texts: int = 0) -> None:
        """Write the shard's arrays, each with as many rows as the shard, what could not be read, and how many texts
        were longer than the encoder takes."""
        digests = {}
        for name, array in arrays.items():
            with whole_file(self._path(name, "npy")) as temporary, temporary.open("wb") as file:
                np.save(file, array)
            digests[name] = hashlib.sha256(array.tobytes()).hexdigest()
        facts = {
            "rows": [self.rows.start, self.rows.stop],
            "sha256": digests,
            "unreadable": {str(row): reason for row, reason in unreadable.items()},
            "cut_texts": cut_texts,
        }
        write_whole(self._path(self.modality, "json"), json.dumps(facts))

    def read(self, array: str) -> np.ndarray:
        """One array, verified. Raises ValueError when it is not what was written; the next run makes it again."""
        facts, path = self.facts, self._path(array, "npy")
        if facts is None or not path.exists():
            self._path(self.modality, "json").unlink(missing_ok=True)
            raise ValueError(
                f"{path} is missing: all processes must see the same folder {self.folder.parent}; run the same command "
                "again, which makes it"
            )
        try:
            part = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError):
            part = np.empty(0)
        if hashlib.sha256(part.tobytes()).hexdigest() != facts["sha256"].get(array):
            self._path(self.modality, "json").unlink()
            raise ValueError(f"{path} is not what was written there: run the same command again, which makes it again")
        return part


def open_partial(folder: Path, identity: Mapping[str, Any]) -> None:
    """Go on in the folder of an interrupted encoding with this `StoreManifest.identity`; start any other one again."""
    path, content = folder / "identity.json", json.dumps(identity)
    if not path.exists() or path.read_text() != content:
        shutil.rmtree(folder, ignore_errors=True)
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def split_rows(folder: Path, modality: str, rows: int, size: int) -> list[Shard]:
    """The shards of `rows` rows, `size` rows each but for the last."""
    return [Shard(folder, modality, range(start, min(start + size, rows))) for start in range(0, rows, size)]


def shards_with(shards: Sequence[Shard], rows: np.ndarray) -> list[Shard]:
    """Those of all `shards`, in order, that hold some of `rows` (int64)."""
    ends = [shard.rows.stop for shard in shards]
    return [shards[place] for place in np.unique(np.searchsorted(ends, rows, side="right"))]


def count_cut_texts(shards: Iterable[Shard]) -> int:
    """How many texts of these shards were longer than the encoder takes."""
    return sum(shard.facts.get("cut_texts", 0) for shard in shards if shard.facts)


def join_shards(
    path: Path, array: str, shards: Sequence[Shard], shape: tuple[int, ...], digest, written: Collection[Shard]
) -> Iterator[tuple]:
    """Write the shards' arrays, one after the other, to `path`, an .npy file of `shape` in float16, and feed `digest`.

    Rows of shards that are not among the `written` ones are zero. Gives (shard, its part) as it goes. Raises ValueError
    as `Shard.read`, or for rows of another shape or not finite.
    """
    written = frozenset(written)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for shard in shards:
            part = shard.read(array) if shard in written else np.zeros((len(shard.rows), *shape[1:]), np.float16)
            if part.shape[1:] != shape[1:] or part.dtype != np.float16 or not np.isfinite(part).all():
                raise ValueError(f"Rows {shard.rows} of {array} are not finite float16 of shape {shape[1:]}")
            digest.update(part.tobytes())
            file.write(part.tobytes())
            yield shard, part
