"""Which patches of an image a captioner gave to words: a file beside its predictions, which reports draw from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from common.files import write_whole
from embedding_space.encoders.fit import Fit, fitted_box

FILE = "patches.json"
SHOWN_WORDS = 3


@dataclass(frozen=True)
class PatchSelection:
    """The selected patches of one image.

    Attributes:
        grid: patches along a side; they are numbered row by row.
        fit: what of the picture the grid covers.
        places: the numbers of the selected patches.
        words: the image's concepts, the most similar first.
    """

    grid: int
    fit: Fit
    places: Sequence[int]
    words: Sequence[str]

    @property
    def title(self) -> str:
        """The first words."""
        return ", ".join(self.words[:SHOWN_WORDS])

    def boxes(self, width: float, height: float) -> list[tuple[float, float, float, float]]:
        """Left, top, width and height of each selected patch in a picture of this size."""
        left, top, *sides = fitted_box(self.fit, width, height)
        across, down = (side / self.grid for side in sides)
        cells = (divmod(place, self.grid) for place in self.places)
        return [(left + column * across, top + row * down, across, down) for row, column in cells]


def write_selections(path: str | Path, selections: Mapping[str, PatchSelection]) -> None:
    """Write {image_id: selection}, an image a line."""
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(asdict(selection))}" for key, selection in selections.items())
    write_whole(path, f"{{\n{lines}\n}}\n")


def read_selections(path: str | Path) -> dict[str, PatchSelection]:
    """{image_id: selection}; empty where there is no file, as of captioners that select nothing.

    Raises:
        ValueError: the file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    try:
        return TypeAdapter(dict[str, PatchSelection]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(
            f"{path} is damaged ({error.error_count()} errors): delete it, or evaluate again with overwrite=true"
        ) from error
