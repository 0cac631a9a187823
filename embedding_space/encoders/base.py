"""What all encoders of pictures, sounds or videos and of sentences do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from common.device import announce, autocast, best_device, checked_device, choose_precision
from common.warn import warn_once
from embedding_space.media import NAMES, Medium, Packed
from embedding_space.pictures import open_picture

FLOAT16 = torch.finfo(torch.float16)
PATCH_OPTIONS = ("patch_pool", "patch_upsample")  # no part of what image rows depend on


class EncodedImages(NamedTuple):
    """The result for some files, of which K could be read."""

    rows: Tensor  # (K, D) float32, unit rows, on the CPU
    patches: Tensor | None  # (K, P, D) float16, unit rows, where they were asked for
    patch_features: Tensor | None  # (K, P, W) float16, as the image tower gave them, with `patches`
    kept: list[int]  # the K files' positions
    reasons: list[str]  # why each other file could not be read, in order


class Loaded(NamedTuple):
    """A batch of files, of which K could be read."""

    pictures: Tensor | None  # (K, ...); None for no file
    kept: list[int]  # the K files' positions
    reasons: list[str]  # why each other file could not be read, in order


Attempt = tuple[Tensor | None, str]  # a loaded file, or None and the reason


class Encoder:
    """Turns pictures and sentences into unit rows. In the place of pictures may be sounds or videos.

    A subclass loads its towers, sets `description` and `dims`, and gives `preprocess`, `image_features`,
    `text_features` and, where the image tower has a grid, `grid_features` and `patch_head`. One that reads other files
    than pictures sets `medium`, and gives `load` in place of `preprocess`; its rows are still called images.

    Args:
        batch_size: pictures or sentences per forward pass.
        precision: autocast to fp32 (none), bf16 or fp16; auto: what the device computes natively.
        workers: processes that decode files.
        device: by default `common.device.best_device()`.
        patch_pool: average so many by so many places of the image tower's grid into one patch: PCM-Net pools
            ViT-L/14's 16 x 16 to 8 x 8.
        patch_upsample: make a grid of so many times as many places each way by bilinear interpolation, for towers
            whose grid is coarse.

    Attributes:
        precision: what `requested_precision` means on this device: fp32, bf16 or fp16.
        description: JSON that `load_encoder(**description)` makes the encoder from again; kept in stores' manifests
            and in captioners.
        dims: {"images": width of image rows, "texts": width of text rows}.
        joint: whether images and texts share one space, in which their cosines have a meaning. False for towers that
            were trained separately, even if their widths agree.
        medium: what the files are that it reads: "image", "sound" or "video".
    """

    description: dict[str, Any]
    dims: dict[str, int]
    joint: bool = True
    medium: Medium = "image"
    requested_precision: str = "fp32"

    def __init__(
        self,
        batch_size: int = 256,
        precision: str = "fp32",
        workers: int = 0,
        device: str | None = None,
        patch_pool: int = 1,
        patch_upsample: int = 1,
    ):
        counts = {"batch_size": batch_size, "patch_pool": patch_pool, "patch_upsample": patch_upsample}
        for option, value in counts.items():
            if value < 1:
                raise ValueError(f"{option}={value} (option encoder.{option}) must be at least 1")
        self.batch_size, self.workers = batch_size, workers
        self.patch_pool, self.patch_upsample = patch_pool, patch_upsample
        self.device = checked_device(device, "encoder.device") if device else best_device()
        self.requested_precision = precision
        self.precision = choose_precision(precision, self.device, "encoder.precision")

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        """What makes an RGB picture (3, H, W). The workers get a copy of it, so it must not hold the towers.

        Raises:
            ValueError: the encoder reads no pictures.
        """
        raise ValueError(f"The encoder {self.description['name']} has no transform of pictures")

    @property
    def load(self) -> Callable[[Path], Tensor]:
        """What makes a file one item of `image_features`' batches; all items have one shape. The workers get a copy of
        it, as of `preprocess`. It raises ValueError for a file that cannot be read, FileNotFoundError for none."""
        return LoadPicture(self.preprocess)

    def image_features(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W), or B items of `load` -> (B, D)."""
        raise NotImplementedError

    def text_features(self, sentences: list[str]) -> Tensor:
        """B sentences -> (B, D)."""
        raise NotImplementedError

    def cut_texts(self, texts: Sequence[str]) -> int:
        """How many of the texts are longer than the text tower takes and are read up to there."""
        return 0

    def warn_of_cut(self, texts: Sequence[str], what: str) -> None:
        """Warn of texts longer than the text tower takes; `what` names them ("prompts")."""
        if cut := self.cut_texts(texts):
            warn_once(
                f"{cut:,} of {len(texts):,} {what} are longer than the encoder {self.description['name']} takes and "
                "are read up to there: shorten them"
            )

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the text tower's tokenizer has no token for, in order."""
        return []

    def grid_features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> `image_features`, and the map (B, W, h, w) that `patch_head` takes place by place.

        Raises:
            ValueError: the tower has no grid whose features are in the image rows' space.
        """
        raise self._no_patches()

    def patch_head(self, features: Tensor) -> Tensor:
        """(B, P, W) features of places -> (B, P, D) in the joint space: the image row's head, applied to each place.

        It is the head that the class token or the pooled map goes through (as DenseCLIP, arXiv 2112.01518, section 3.2;
        PCM-Net, section 3.2).
        """
        raise self._no_patches()

    def _no_patches(self) -> ValueError:
        return ValueError(f"The encoder {self.description['name']} has no patch tokens: set patches=false")

    def patch_features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> `image_features`, and (B, P, W) features of the P places of the tower's grid, row by row.

        W is the tower's own width: the features are those before its last norm and `patch_head`. `patch_pool` and
        `patch_upsample` change the grid, and leave the image features as they are.

        Raises:
            ValueError: as `grid_features`, or the grid cannot be pooled so.
        """
        features, grid = self.grid_features(pictures)
        if self.patch_pool > 1:
            if any(side % self.patch_pool for side in grid.shape[2:]):
                side = " x ".join(map(str, grid.shape[2:]))
                raise ValueError(
                    f"patch_pool={self.patch_pool} (option encoder.patch_pool) does not divide the grid of "
                    f"{self.description['name']}, {side} places"
                )
            grid = F.avg_pool2d(grid, self.patch_pool)
        if self.patch_upsample > 1:
            grid = F.interpolate(grid, scale_factor=self.patch_upsample, mode="bilinear")
        return features, grid.flatten(2).transpose(1, 2)

    @property
    def patch_options(self) -> dict[str, int]:
        """What a store with patches adds to `description`: those of `PATCH_OPTIONS` that change the grid."""
        return {option: getattr(self, option) for option in PATCH_OPTIONS if getattr(self, option) > 1}

    @property
    def dim(self) -> int:
        """The width of all rows. Raises ValueError when images and texts have no joint space."""
        if not self.joint:
            raise ValueError(
                f"The encoder {self.description['name']} has separate towers ({self.dims['images']} dimensions for "
                f"images, {self.dims['texts']} for texts) and no joint space"
            )
        return self.dims["images"]

    def dim_of(self, modality: str) -> int:
        """The width of the rows of `modality`: "images" or "texts"."""
        return self.dims[modality]

    @cached_property
    def patch_shape(self) -> tuple[int, int]:
        """(P, W) of one picture's patch features; ValueError as `patch_features`."""
        if self.medium != "image":
            raise self._no_patches()
        blank = self.preprocess(Image.new("RGB", (64, 64)))[None]
        return tuple(self._run(lambda batch: self.patch_features(batch)[1], blank.to(self.device)).shape[1:])

    def head_patches(self, features: Tensor) -> Tensor:
        """(B, P, W) patch features -> (B, P, D) float16 unit rows on the CPU, by `patch_head`."""
        patches = self._run(self.patch_head, features.to(self.device))
        return F.normalize(patches.float(), dim=-1).half().cpu()

    def encode_images(self, paths: Sequence[Path]) -> Tensor:
        """Files -> (N, D) float32 unit rows on the CPU. Raises ValueError for a file that cannot be read."""
        rows, _, unreadable = self.encode_readable_images(paths)
        if unreadable:
            raise ValueError(
                f"{len(unreadable)} of {len(paths)} {NAMES[self.medium]} cannot be read; the first: {unreadable[0]}"
            )
        return rows

    def encode_readable_images(
        self, paths: Sequence[Path], progress: bool = False
    ) -> tuple[Tensor, list[int], list[str]]:
        """Files -> (K, D) float32 unit rows, the K readable files' positions in `paths`, and why each other file
        could not be read."""
        with tqdm(total=len(paths), desc=f"encode {self.medium}s", unit=self.medium, disable=not progress) as bar:
            encoded = next(self.encode_image_shards(paths, [range(len(paths))], done=bar.update))
        return encoded.rows, encoded.kept, encoded.reasons

    @torch.inference_mode()
    def encode_image_shards(
        self,
        paths: Sequence[Path],
        shards: Sequence[Sequence[int]],
        patches: bool = False,
        done: Callable[[int], object] = lambda count: None,
    ) -> Iterator[EncodedImages]:
        """Each shard's pictures (or sounds, or videos) in turn, while the next ones' are being decoded already.

        Args:
            paths: files; indexed where one is decoded, so that it may be a lazy sequence.
            shards: the positions in `paths` of each shard; batches do not cross from one into the next.
            patches: give patch tokens, too.
            done: called with the number of pictures of each batch.
        """
        batches = [
            shard[start : start + self.batch_size]
            for shard in shards
            for start in range(0, len(shard), self.batch_size)
        ]
        loader = DataLoader(
            _Files(paths, self.load),
            batch_sampler=batches,  # pyright: ignore[reportArgumentType]  # any sequence of row numbers
            num_workers=self.workers,
            collate_fn=collate_readable,
            pin_memory=self.device.type == "cuda",
        )
        yield from self.encode_loaded(iter(loader), map(len, shards), patches, done)

    @torch.inference_mode()
    def encode_loaded(
        self,
        batches: Iterator[Loaded],
        sizes: Iterable[int],
        patches: bool = False,
        done: Callable[[int], object] = lambda count: None,
    ) -> Iterator[EncodedImages]:
        """As `encode_image_shards`, of files that something else loads.

        Args:
            batches: by `collate_readable`, of `batch_size` files each but for the last of a shard.
            sizes: how many files each shard has.
        """
        encode = self.patch_features if patches else lambda pictures: (self.image_features(pictures), None)
        for size in sizes:
            rows = [torch.empty(0, self.dims["images"])]
            grids, headed = [], []  # (B, P, W) and (B, P, D) float16
            kept, reasons = [], []
            for start in range(0, size, self.batch_size):
                pictures, positions, unreadable = next(batches)
                if pictures is not None:
                    features, grid = self._run(encode, pictures.to(self.device, non_blocking=True))
                    rows.append(F.normalize(features.float(), dim=-1).cpu())
                    if grid is not None:
                        grids.append(self._in_float16(grid))
                        headed.append(self.head_patches(grid))
                kept += [start + position for position in positions]
                reasons += unreadable
                done(len(positions) + len(unreadable))
            if not patches:
                yield EncodedImages(torch.cat(rows), None, None, kept, reasons)
                continue
            places, width = self.patch_shape
            grids.append(torch.empty(0, places, width, dtype=torch.float16))
            headed.append(torch.empty(0, places, self.dim, dtype=torch.float16))
            yield EncodedImages(torch.cat(rows), torch.cat(headed), torch.cat(grids), kept, reasons)

    def _in_float16(self, features: Tensor) -> Tensor:
        """The features in float16 on the CPU. Raises ValueError where they exceed its range."""
        if (largest := features.abs().amax().item()) > FLOAT16.max:
            raise ValueError(
                f"Patch features of the encoder {self.description['name']} reach {largest:,.0f}, and float16, in which "
                f"they are kept, ends at {FLOAT16.max:,.0f}: set patches=false, or take another encoder"
            )
        return features.half().cpu()

    @torch.inference_mode()
    def encode_texts(self, texts: list[str], done: Callable[[int], object] = lambda count: None) -> Tensor:
        """Sentences -> (M, D) float32 unit rows on the CPU. `done` is called with each batch's number of texts."""
        if not texts:
            return torch.empty(0, self.dims["texts"])
        return F.normalize(self._run_texts(self.text_features, texts, done), dim=-1)

    def encode_text_shards(
        self, texts: Sequence[str], shards: Sequence[Sequence[int]], done: Callable[[int], object] = lambda count: None
    ) -> Iterator[Tensor]:
        """(M, D) float32 unit rows of each shard's sentences in turn: the counterpart of `encode_image_shards`."""
        for shard in shards:
            yield self.encode_texts([texts[position] for position in shard], done)

    def _run_texts(
        self, features: Callable[[list[str]], Tensor], texts: list[str], done: Callable[[int], object]
    ) -> Tensor:
        """(M, F) float32 on the CPU: `features` of M texts, in order of length, since similar lengths need little
        padding."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        parts = []
        for start in range(0, len(texts), self.batch_size):
            batch = order[start : start + self.batch_size]
            parts.append(self._run(features, [texts[row] for row in batch]).float().cpu())
            done(len(batch))
        rows = torch.cat(parts)
        return torch.empty_like(rows).index_copy_(0, torch.tensor(order), rows)

    @torch.inference_mode()
    def _run(self, encode: Callable, batch: Any) -> Any:
        announce("Encoding", self.device, self.precision)
        with autocast(self.device, self.precision):
            return encode(batch)


class LoadPicture:
    """A picture as an encoder reads it: opened, and preprocessed."""

    def __init__(self, preprocess: Callable[[Image.Image], Tensor]):
        self.preprocess = preprocess

    def __call__(self, path: Path | Packed) -> Tensor:
        """A file, or the content of one -> (3, H, W). Raises as `open_picture`."""
        return self.preprocess(open_picture(path))


class _Files(Dataset):
    def __init__(self, paths: Sequence[Path], load: Callable[[Path], Tensor]):
        self.paths, self.load = paths, load

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index: int) -> Attempt:
        return attempt(self.load, self.paths[index])


def attempt(load: Callable[[Any], Tensor], file: Any) -> Attempt:
    """`load(file)`, or why it cannot be read."""
    try:
        return load(file), ""
    except (ValueError, FileNotFoundError) as error:
        return None, str(error)


def collate_readable(items: Sequence[Attempt]) -> Loaded:
    """Collate what could be read of a batch."""
    loaded = [item for item, _ in items if item is not None]
    positions = [position for position, (item, _) in enumerate(items) if item is not None]
    reasons = [reason for item, reason in items if item is None]
    return Loaded(torch.stack(loaded) if loaded else None, positions, reasons)
