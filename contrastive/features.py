"""Features of frozen towers, computed once and kept in shards on disk: the towers never see a picture twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ColorJitter, Compose, RandomHorizontalFlip, RandomResizedCrop
from torchvision.transforms.functional import InterpolationMode
from tqdm import tqdm

from common.checks import Count, Positive, Share, Whole, checked_dataclass
from common.files import whole_file
from common.processes import Processes
from common.randomness import mixed_seed
from embedding_space.encoders.tower_encoder import TowerEncoder
from embedding_space.encoders.towers import Preprocess
from embedding_space.pictures import open_picture
from embedding_space.tables import Tables

SHARD_IMAGES, SHARD_TEXTS = 512, 4096


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("must be two numbers, the lower one first")
    return ends


Range = Annotated[tuple[Positive, Positive], AfterValidator(_ascending), Field(strict=False)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Shares = Annotated[tuple[PositiveShare, PositiveShare], AfterValidator(_ascending), Field(strict=False)]


@checked_dataclass("model.augmentation.")
class Augmentation:
    """Views of a training picture: 0 is the picture itself, 1 its mirror image, the others are random but fixed.

    Attributes:
        views: how many there are.
        crop_scale: bounds of a random view's share of the picture's area; half of these views are mirrored.
        crop_ratio: bounds of a random view's width over its height.
        jitter: the greatest relative change of a random view's brightness, contrast and saturation.
        seed: of all random views; not the run's seed, so that runs share them.

    Raises:
        ValueError: a value is out of range; the sentence names its option.
    """

    views: Count = 1
    crop_scale: Shares = (0.4, 1.0)
    crop_ratio: Range = (0.8, 1.25)
    jitter: Share = 0.0
    seed: Whole = 0

    def view(self, picture: Image.Image, row: int, view: int, preprocess: Preprocess) -> Tensor:
        """(3, S, S): view number `view` of the picture in row `row`, as the tower takes it.

        Pictures are mirrored after the tower's crop, as in encoders with `mirror`. Before it, an odd margin would shift
        the crop by one pixel.
        """
        if view < 2:
            pixels = preprocess(picture)
            return pixels.flip(-1) if view else pixels
        crop = RandomResizedCrop(preprocess.image_size, self.crop_scale, self.crop_ratio, InterpolationMode.BICUBIC)
        change = Compose([crop, RandomHorizontalFlip(), ColorJitter(self.jitter, self.jitter, self.jitter)])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(self.seed, row, view))
            return preprocess(change(picture))


class FrozenFeatures:
    """Both towers' features of a data set's pictures and captions, in a folder named by what they depend on.

    Args:
        folder: where the shards of all data sets, towers and augmentations go; runs may share it.
        encoder: the towers, without heads.
        tables: the data set.
        augmentation: which views `images` makes.
        processes: they share the work.

    Raises:
        ValueError: a picture cannot be read; all processes raise it.
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
        """Compute the missing shards, each process its share, and read all of them."""
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
        share = list(shards.items())[self.processes.rank :: self.processes.count]
        missing = {rows: shard for rows, shard in share if not shard.exists()}

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

        self.processes.run_everywhere(compute)
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
