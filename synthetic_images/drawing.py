"""Drawing pictures in shards, by any number of processes and cores, resumed where it stopped."""

from __future__ import annotations

import json
import shutil
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL.Image import Image
from tqdm import tqdm

from common.cores import map_over_cores
from common.files import write_whole
from synthetic_images.defects import Defect
from synthetic_images.painter import Commission, Drawn, Painter, Painting

if TYPE_CHECKING:  # torch, which the processes on the cores do without
    from common.processes import Processes

SHARD = 512  # pictures that an interruption may lose
PICTURES_WORTH_PROCESSES = 5000  # each process starts for some seconds
RANDOMNESS = 9630  # tells these random numbers from those of scenes, which have a split's code in its place
SHARDS = "shards"


@dataclass(frozen=True)
class Shard:
    """Captions that are drawn together: a file in `folder`, written last, says that their pictures are whole.

    Attributes:
        start: the place of the first caption in the commission.
        captions, positions: of each, as in `Commission`.
        seeds: of each, made of the commission's seed and the position.
    """

    folder: Path
    start: int
    captions: Sequence[str]
    positions: Sequence[int]
    seeds: Sequence[int]

    @property
    def _path(self) -> Path:
        return self.folder / SHARDS / f"{self.start:09d}.json"

    @property
    def done(self) -> bool:
        return self._path.is_file()

    def write(self, drawn: Sequence[Drawn], ending: str) -> None:
        """Write the pictures, and then what is known of them."""
        kept, defects = [], []
        for place, (picture, position) in enumerate(zip(drawn, self.positions, strict=True), self.start):
            if picture.picture is not None:
                path = self.folder / picture_path(position, ending)
                path.parent.mkdir(parents=True, exist_ok=True)
                save_picture(picture.picture, path)
                kept.append(place)
                defects += [[place, asdict(defect)] for defect in picture.defects]
        write_whole(self._path, json.dumps({"kept": kept, "defects": defects}))

    def read(self) -> tuple[list[int], list[tuple[int, Defect]]]:
        """The places in the commission of captions that have pictures, and of defects."""
        facts = json.loads(self._path.read_text())
        return facts["kept"], [(place, Defect(**defect)) for place, defect in facts["defects"]]


def picture_path(position: int, ending: str) -> str:
    """The file of a caption's picture, relative to the data set's folder."""
    return f"images/synthetic/{position // 1000:04d}/{position:07d}.{ending}"


def save_picture(picture: Image, path: Path) -> None:
    """Write a picture in the format that the file's name says."""
    options: dict[str, Any] = {"quality": 95} if path.suffix == ".jpg" else {"compress_level": 1}
    picture.save(path, **options)


class Drawer(Painter):
    """A painter that draws every picture from its caption alone.

    Attributes:
        on_cores: whether drawing takes one core, so that several processes draw at once; the drawer is sent to them.
        ending: of the pictures' files, "png" or "jpg".
        knows_defects: whether it says what is wrong with its pictures.
    """

    on_cores: ClassVar[bool] = False
    knows_defects: ClassVar[bool] = False
    ending: str = "png"

    @abstractmethod
    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Drawn]:
        """A picture for each caption; its randomness comes from its seed alone."""

    def paint(self, commission: Commission, folder: Path, processes: Processes) -> Painting:
        from common.randomness import mixed_seed

        captions, positions = commission.captions(), commission.positions.tolist()
        seeds = [mixed_seed(commission.seed, RANDOMNESS, position) for position in positions]
        parts = [slice(start, start + SHARD) for start in range(0, len(captions), SHARD)]
        shards = [Shard(folder, part.start, captions[part], positions[part], seeds[part]) for part in parts]
        processes.run_everywhere(lambda: self._draw_missing(shards, processes))
        kept, defects = [], []
        for shard in shards:
            places, wrong = shard.read()
            kept += places
            defects += wrong
        paths = [picture_path(positions[place], self.ending) for place in kept]
        return Painting(np.asarray(kept, np.int64), paths, defects if self.knows_defects else None)

    def _draw_missing(self, shards: Sequence[Shard], processes: Processes) -> None:
        share = shards[processes.rank :: processes.count]
        missing = [shard for shard in share if not shard.done]
        left, total = (sum(len(shard.captions) for shard in some) for some in (missing, share))
        name = f"paint (process 1 of {processes.count})" if processes.count > 1 else "paint"
        bar = tqdm(
            desc=name, total=total, initial=total - left, unit="picture", dynamic_ncols=True, disable=processes.rank > 0
        )
        over_cores = map_over_cores(self.on_cores and left >= PICTURES_WORTH_PROCESSES)
        with bar, over_cores as each:
            for count in each(partial(draw_shard, self), missing):
                bar.update(count)


def draw_shard(drawer: Drawer, shard: Shard) -> int:
    """Draw a shard's pictures and write them; returns how many captions it has."""
    shard.write(drawer.draw(shard.captions, shard.seeds), drawer.ending)
    return len(shard.captions)


def remove_shards(folder: Path) -> None:
    """Remove the shards' files, once the tables say what they say."""
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
