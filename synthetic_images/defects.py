"""What is wrong with painted pictures: the table defects.parquet, and the patches that defects are in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.arrow import compute as pc
from common.files import whole_file

MISSING, EXTRA, COUNT, COLOR = "missing_object", "extra_object", "wrong_count", "wrong_color"
DISTORTED, BLURRED, PLACE = "distorted_object", "blurred_object", "wrong_place"
KINDS = (MISSING, EXTRA, COUNT, COLOR, DISTORTED, BLURRED, PLACE)
LOCAL_KINDS = tuple(kind for kind in KINDS if kind != PLACE)  # those that are somewhere, and not everywhere
BOX = ("x0", "y0", "x1", "y1")
SCHEMA = pa.schema(
    [("image_id", pa.string()), ("kind", pa.string()), ("noun", pa.string())]
    + [(edge, pa.float32()) for edge in BOX]
    + [("intended", pa.string()), ("painted", pa.string())]
)


@dataclass(frozen=True)
class Defect:
    """One thing that is not as its caption says.

    Attributes:
        kind: one of `KINDS`.
        noun: what is affected; "" for the place.
        x0, y0, x1, y1: left, top, right and bottom of what is affected, as fractions of the picture; a missing object's
            are where it would have been.
        intended, painted: a count, a color, a place, or the state of the sprite.
    """

    kind: str
    noun: str
    x0: float
    y0: float
    x1: float
    y1: float
    intended: str
    painted: str


def write_defects(path: Path, defects: Iterable[tuple[str, Defect]]) -> None:
    """Write the defects of (image id, defect) as a Parquet table, whole or not at all."""
    rows = [{"image_id": image_id, **asdict(defect)} for image_id, defect in defects]
    with whole_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)


def read_defects(root: Path) -> pa.Table:
    """The defects of the data set in `root`, with the columns of `SCHEMA`.

    Raises:
        FileNotFoundError: its painter knows no defects.
    """
    path = Path(root) / "defects.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: only painter=demo knows what is wrong with its pictures")
    return pq.read_table(path)


def defect_patches(
    defects: pa.Table, grid: int, image_ids: Sequence[str], kinds: Collection[str] = LOCAL_KINDS
) -> np.ndarray:
    """(N, P) bool: which patches of N pictures a defect is in, at least in part.

    Args:
        defects: as `read_defects` gives them.
        grid: patches on a side; the P = grid² patches go row by row.
        image_ids: of the N pictures; others' defects are left out.
        kinds: of defects that count. By default all that have a place; a wrong backdrop is everywhere.
    """
    image = pc.index_in(defects["image_id"], pa.array(image_ids, pa.string()))
    counts = pc.and_(pc.is_valid(image), pc.is_in(defects["kind"], pa.array(list(kinds), pa.string())))
    boxes = defects.filter(counts)
    left, top, right, bottom = (boxes[edge].to_numpy()[:, None] * grid for edge in BOX)  # each (K, 1), in patches
    start = np.arange(grid)
    columns = (left < start + 1) & (right > start)  # (K, grid)
    rows = (top < start + 1) & (bottom > start)
    inside = (rows[:, :, None] & columns[:, None, :]).reshape(len(boxes), grid * grid)
    patches = np.zeros((len(image_ids), grid * grid), bool)
    np.logical_or.at(patches, image.filter(counts).to_numpy(), inside)
    return patches
