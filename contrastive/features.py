"""Features of frozen towers, computed once and kept in shards on disk: the towers never see a picture twice."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop
from torchvision.transforms.functional import InterpolationMode
from tqdm import tqdm

from common.files import whole_file
from common.processes import Processes
from common.randomness import mixed_seed
from embedding_space.encoders.tower_encoder import TowerEncoder
from embedding_space.encoders.towers import Preprocess
from embedding_space.pictures import open_picture
from embedding_space.tables import Tables

SHARD_IMAGES, SHARD_TEXTS = 512, 4096


@dataclass(frozen=True)
class Augmentation:
    """Views of a training picture: 0 is the picture itself, 1 its mirror image, the others are random but fixed.

    views: how many there are.
    crop_scale: a random view's share of the picture's area, from and to; half of these views are mirrored.
    crop_ratio: of its sides, from and to.
    jitter: its brightness, contrast and saturation change by up to this share.
    seed: of all random views; not the run's seed, so that runs share them.

    Raises ValueError naming the option for what these cannot mean.
    """

    views: int = 1
    crop_scale: tuple[float, float] = (0.4, 1.0)
    crop_ratio: tuple[float, float] = (0.8, 1.25)
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self):
        sound = {
            "views": (type(self.views) is int and self.views >= 1, "a whole number, at least 1"),
            "crop_scale": (_is_range(self.crop_scale, 1), "two numbers above 0, the lower first, none above 1"),
            "crop_ratio": (
                _is_range(self.crop_ratio, sys.float_info.max),
                "two finite numbers above 0, the lower first",
            ),
            "jitter": (_is_number(self.jitter) and 0 <= self.jitter <= 1, "a number from 0 to 1"),
            "seed": (type(self.seed) is int and self.seed >= 0, "a whole number, at least 0"),
        }
        for key, (holds, meant) in sound.items():
            if not holds:
                raise ValueError(f"model.augmentation.{key}={getattr(self, key)!r} must be {meant}")

    def view(self, picture: Image.Image, row: int, view: int, preprocess: Preprocess) -> Tensor:
        """(3, S, S): view number `view` of the picture in row `row`, as the tower takes it.

        Mirrored after the tower's crop, as encoders with `mirror` do it: before, a crop of an odd margin would lie one
        pixel aside.
        """
        if view < 2:
            pixels = preprocess(picture)
            return pixels.flip(-1) if view else pixels
        crop = RandomResizedCrop(
            preprocess.image_size, tuple(self.crop_scale), tuple(self.crop_ratio), InterpolationMode.BICUBIC
        )
        change = Compose([crop, RandomHorizontalFlip(), ColorJitter(self.jitter, self.jitter, self.jitter)])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(self.seed, row, view))
            return preprocess(change(picture))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_range(value: object, most: float) -> bool:
    pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))
    return pair and 0 < value[0] <= value[1] <= most


class FrozenFeatures:
    """Both towers' features of a data set's pictures and captions, in a folder named by what they depend on.

    Args:
        folder: where the shards of all data sets, towers and augmentations go; runs may share it.
        encoder: the towers, without heads.
        tables: the data set.
        augmentation: which views `images` makes.
        processes: they share the work.

    Raises ValueError when a picture cannot be read, in all processes.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: TowerEncoder,
        tables: Tables,
        augmentation: Augmentation,
        processes: Processes,
    ):
        self.encoder, self.tables, self.augmentation, self.processes = encoder, tables, augmentation, processes
        self._folder = Path(folder)

    def images(self, split: str, rows: np.ndarray, views: int) -> Tensor:
        """(N, views, F) float16 on the CPU: features of the pictures of `split`, in those rows of the table."""
        paths = self.tables.image_paths(rows)
        parts = []
        for view in range(views):

            def encode(start: int, stop: int, view: int = view) -> Iterator[Tensor]:
                shard = _Views(self, paths[start:stop], rows[start:stop], view)
                for batch in DataLoader(shard, self.encoder.batch_size, num_workers=self.encoder.workers):
                    yield self.encoder.raw_image_features(batch)

            towers = ("image_tower", *(["augmentation"] if view > 1 else []))
            what = f"{split} pictures, {'mirrored' if view == 1 else f'view {view}'}"
            parts.append(self._shards(towers, what, len(rows), SHARD_IMAGES, encode))
        return torch.stack(parts, dim=1)

    def texts(self, split: str, captions: list[str]) -> Tensor:
        """(M, F) float16 on the CPU: features of the captions of `split`."""

        def encode(start: int, stop: int) -> Iterator[Tensor]:
            self.encoder.warn_of_cut(captions[start:stop], f"captions of {split}, from {start:,} on,")
            yield self.encoder.raw_text_features(captions[start:stop])

        return self._shards(("text_tower",), f"{split} captions", len(captions), SHARD_TEXTS, encode)

    def _shards(
        self,
        depends_on: tuple[str, ...],
        what: str,
        rows: int,
        shard_rows: int,
        encode: Callable[[int, int], Iterator[Tensor]],
    ) -> Tensor:
        """Compute what is missing, each process every so many-th shard, and read all of it."""
        known = {
            **self.encoder.description,
            "augmentation": asdict(self.augmentation) | {"views": None},  # more views change no view
        }
        identity = {
            "what": what,
            "rows": rows,
            "tables_hash": self.tables.hash,
            "precision": self.encoder.requested_precision,  # auto: features of other hardware do
            **{key: known[key] for key in depends_on},
        }
        written = json.dumps(identity, indent=2, default=list)
        folder = self._folder / hashlib.sha256(written.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "identity.json").write_text(written + "\n")
        shards = {
            range(start, min(start + shard_rows, rows)): folder / f"{start:09d}.npy"
            for start in range(0, rows, shard_rows)
        }
        own = list(shards.items())[self.processes.rank :: self.processes.count]
        missing = {rows: shard for rows, shard in own if not shard.exists()}

        def compute() -> None:
            hidden = not missing or self.processes.rank > 0
            with tqdm(total=sum(map(len, missing)), desc=what, disable=hidden, dynamic_ncols=True) as bar:
                for rows, shard in missing.items():
                    parts = []
                    for features in encode(rows.start, rows.stop):
                        parts.append(features.half().numpy())
                        bar.update(len(parts[-1]))
                    with whole_file(shard) as temporary, temporary.open("wb") as file:
                        np.save(file, np.concatenate(parts))

        self.processes.together(compute)
        return torch.from_numpy(np.concatenate([np.load(shard, allow_pickle=False) for shard in shards.values()]))


class _Views(Dataset):
    def __init__(self, features: FrozenFeatures, paths: list[Path], rows: np.ndarray, view: int):
        self.augmentation, self.preprocess = features.augmentation, features.encoder.image_tower.preprocess
        self.paths, self.rows, self.view = paths, rows, view

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        picture = open_picture(self.paths[index])
        return self.augmentation.view(picture, int(self.rows[index]), self.view, self.preprocess)
