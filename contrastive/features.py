"""Features of frozen towers, computed once and kept in shards on disk: the towers never see a picture twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop
from torchvision.transforms.functional import InterpolationMode
from tqdm import tqdm

from embedding_space.pictures import open_picture
from embedding_space.tables import Tables
from embedding_space.tower_encoder import TowerEncoder
from training.random import mixed_seed

SHARD_IMAGES, SHARD_TEXTS = 512, 4096


@dataclass(frozen=True)
class Augmentation:
    """Views of a training picture: 0 is the picture itself, 1 its mirror image, the others are random but fixed.

    views: how many there are.
    crop_scale: a random view's share of the picture's area, from and to; half of these views are mirrored.
    crop_ratio: of its sides, from and to.
    jitter: its brightness, contrast and saturation change by up to this share.
    seed: of all random views; not the run's seed, so that runs share them.
    """

    views: int = 1
    crop_scale: tuple[float, float] = (0.4, 1.0)
    crop_ratio: tuple[float, float] = (0.8, 1.25)
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self):
        if not isinstance(self.views, int) or self.views < 1:
            raise ValueError(f"model.augmentation.views={self.views!r} must be a whole number, at least 1")

    def view(self, picture: Image.Image, row: int, view: int, size: int) -> Image.Image:
        """View number `view` of the picture in row `row`; random ones come in (size, size)."""
        if view < 2:
            return ImageOps.mirror(picture) if view else picture
        change = Compose(
            [
                RandomResizedCrop(size, tuple(self.crop_scale), tuple(self.crop_ratio), InterpolationMode.BICUBIC),
                RandomHorizontalFlip(),
                ColorJitter(self.jitter, self.jitter, self.jitter),
            ]
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(self.seed, row, view))
            return change(picture)


class FrozenFeatures:
    """Both towers' features of a data set's pictures and captions, in a folder named by what they depend on.

    Args:
        folder: where the shards of all data sets, towers and augmentations go; runs may share it.
        encoder: the towers, without heads.
        tables: the data set.
        augmentation: which views `images` makes.
        accelerator: its processes share the work.

    Raises ValueError when a picture cannot be read.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: TowerEncoder,
        tables: Tables,
        augmentation: Augmentation,
        accelerator: Accelerator,
    ):
        self.encoder, self.tables, self.augmentation, self.accelerator = encoder, tables, augmentation, accelerator
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
            parts.append(self._shards(towers, f"{split} pictures, view {view}", view, len(rows), SHARD_IMAGES, encode))
        return torch.stack(parts, dim=1)

    def texts(self, split: str, captions: list[str]) -> Tensor:
        """(M, F) float16 on the CPU: features of the captions of `split`."""

        def encode(start: int, stop: int) -> Iterator[Tensor]:
            yield self.encoder.raw_text_features(captions[start:stop])

        return self._shards(("text_tower",), f"{split} captions", 0, len(captions), SHARD_TEXTS, encode)

    def _shards(
        self,
        depends_on: tuple[str, ...],
        what: str,
        view: int,
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
            "precision": self.encoder.precision,
            **{key: known[key] for key in depends_on},
        }
        written = json.dumps(identity, indent=2, default=list)
        folder = self._folder / hashlib.sha256(written.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "identity.json").write_text(written + "\n")
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        starts = range(0, rows, shard_rows)
        shards = [folder / f"{start:09d}.npy" for start in starts]
        own = [
            (start, shard) for start, shard in zip(starts, shards, strict=True) if start // shard_rows % world == rank
        ]
        missing = [(start, min(start + shard_rows, rows), shard) for start, shard in own if not shard.exists()]
        total = sum(stop - start for start, stop, _ in missing)
        with tqdm(total=total, desc=what, disable=not missing or rank > 0, dynamic_ncols=True) as bar:
            for start, stop, shard in missing:
                parts = []
                for features in encode(start, stop):
                    parts.append(features.half().numpy())
                    bar.update(len(parts[-1]))
                temporary = shard.with_suffix(".partial")
                with temporary.open("wb") as file:
                    np.save(file, np.concatenate(parts))
                temporary.replace(shard)
        self.accelerator.wait_for_everyone()
        return torch.from_numpy(np.concatenate([np.load(shard, allow_pickle=False) for shard in shards]))


class _Views(Dataset):
    def __init__(self, features: FrozenFeatures, paths: list[Path], rows: np.ndarray, view: int):
        self.augmentation, self.preprocess = features.augmentation, features.encoder.image_tower.preprocess
        self.paths, self.rows, self.view = paths, rows, view

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        picture = open_picture(self.paths[index])
        row, size = int(self.rows[index]), self.preprocess.image_size
        return self.preprocess(self.augmentation.view(picture, row, self.view, size))
