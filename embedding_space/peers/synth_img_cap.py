"""SynthImgCap's released features (PCM-Net) as tables and a store: nothing but the captions is encoded.

Files as github.com/jianjieluo/OpenAI-CLIP-Feature and PCM-Net's `xmodaler/datasets/images/mscoco.py` write and read
them: one archive an image, `img_sp<split_id>/<image_id>.npz` of synthetic and `img/<image_id>.npz` of real images, with
`features` (P, W), CLIP's patch tokens before its last norm, and `g_feature` (1, D); annotations, a pickle of a list of
dicts with `image_id`, `split_id` of synthetic images, and of training images `target_ids` (n, T), the numbers of n
captions' words, 0 at the end and -1 after it. Word k is line k of the vocabulary, counted from 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from common.processes import Processes
from common.text_files import lines_of
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.peers.npz import read_npz
from embedding_space.peers.unpickle import load_plain
from embedding_space.store import EmbeddingStore
from embedding_space.tables import TableWriter
from embedding_space.write_store import check_training_splits, write_store


class FeatureFiles(Encoder):
    """An encoder whose images are files of features that it made before; texts it encodes.

    Args:
        encoder: what made the features, by the widths and the grid that it has.

    Raises:
        ValueError: the encoder has no patch tokens.
    """

    def __init__(self, encoder: Encoder):
        options = {"patch_pool": encoder.patch_pool, "patch_upsample": encoder.patch_upsample}
        super().__init__(
            encoder.batch_size, encoder.requested_precision, encoder.workers, str(encoder.device), **options
        )
        self.encoder, self.description, self.dims = encoder, encoder.description, encoder.dims
        self.joint, self.patch_shape = encoder.joint, encoder.patch_shape

    def patch_head(self, features: Tensor) -> Tensor:
        return self.encoder.patch_head(features)

    def cut_texts(self, texts: Sequence[str]) -> int:
        return self.encoder.cut_texts(texts)

    def encode_text_shards(self, texts, shards, done=lambda count: None) -> Iterator[Tensor]:
        return self.encoder.encode_text_shards(texts, shards, done)

    def encode_image_shards(
        self,
        paths: Sequence[Path],
        shards: Sequence[Sequence[int]],
        patches: bool = False,
        done: Callable[[int], object] = lambda count: None,
    ) -> Iterator[EncodedImages]:
        """Each shard's files in turn, always with patches. Raises ValueError for a file that is damaged or has other
        shapes than the encoder."""
        # One after the other: Python before 3.12 may not parse NumPy's headers in several threads (gh-106905).
        for shard in shards:
            rows, features, headed = [], [], []
            for start in range(0, len(shard), self.batch_size):
                batch = [paths[row] for row in shard[start : start + self.batch_size]]
                images, grids = zip(*map(self._read, batch), strict=True)
                rows.append(F.normalize(torch.from_numpy(np.stack(images)), dim=-1))
                grid = torch.from_numpy(np.stack(grids))
                features.append(self._in_float16(grid))
                headed.append(self.head_patches(grid))
                done(len(batch))
            yield EncodedImages(torch.cat(rows), torch.cat(headed), torch.cat(features), list(range(len(shard))), [])

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """(D,) and (P, W) float32 of one file."""
        features, image = read_npz(path, "features", "g_feature")
        if features.dtype.kind != "f" or image.dtype.kind != "f":
            raise ValueError(f"{path} is refused: its arrays are {features.dtype} and {image.dtype}, no numbers")
        if features.shape != self.patch_shape or image.size != self.dim or image.shape[-1:] != (self.dim,):
            places, width = self.patch_shape
            raise ValueError(
                f"{path} has features {features.shape} and g_feature {image.shape}, and the encoder "
                f"{self.description['name']} gives ({places}, {width}) and (1, {self.dim}): choose the "
                "encoder=... that made them (ViT-L/14's are pooled: encoder.patch_pool=2)"
            )
        if not (np.isfinite(features).all() and np.isfinite(image).all()):
            raise ValueError(f"{path} is refused: its features are not finite")
        return image.reshape(-1).astype(np.float32), features.astype(np.float32)


@dataclass(frozen=True)
class _Image:
    """An image of an annotation file: its id, its archive within the folder, its captions' words as numbers."""

    image_id: str
    archive: str
    captions: list[list[int]]


def import_synth_img_cap(
    root: str | Path,
    files: Mapping[str, str | Path],
    features: str | Path,
    vocabulary: str | Path | None,
    encoder: Encoder,
    text_split: str = "train",
    image_mean_split: str | None = "train",
    processes: Processes | None = None,
) -> EmbeddingStore:
    """Write tables into `root`, and beside them a store with patches from SynthImgCap's files; what is there is kept.

    Args:
        files: {split: annotation pickle}.
        features: the folder that holds `img_sp0` and so on, or `img`.
        vocabulary: the list of words, one a line; needed where the annotations have captions.
        encoder: what made the features. Its head maps the patches, and it encodes the captions.
        text_split, image_mean_split, processes: as for `write_store`. The mean of `train` images is that of synthetic
            ones where those are the training images.

    Raises:
        FileNotFoundError: a file is missing, or an image has no features.
        ValueError: a file is refused, ids occur twice, or `root` holds embeddings of other tables.
    """
    processes, root, name = processes or Processes(), Path(root), encoder.description["name"]
    check_training_splits(text_split, image_mean_split)
    imported = FeatureFiles(encoder)
    processes.run_on_main(lambda: _write_tables(root, files, Path(features), vocabulary))
    return write_store(root, imported, name, text_split, image_mean_split, patches=True, processes=processes)


def _write_tables(root: Path, files: Mapping[str, str | Path], features: Path, vocabulary: str | Path | None) -> None:
    words = None if vocabulary is None else _read_vocabulary(Path(vocabulary))
    root.mkdir(parents=True, exist_ok=True)
    with TableWriter(root, replace="unused") as writer:
        for split, path in files.items():
            blank = 0
            for image in tqdm(_read_annotations(Path(path)), desc=f"write {split}", unit=" images", dynamic_ncols=True):
                archive = features / image.archive
                if not archive.is_file():
                    raise FileNotFoundError(f"There is no file {archive} of the image {image.image_id} in {path}")
                row = writer.image(image.image_id, os.path.relpath(archive, root), split)
                for number, caption in enumerate(image.captions):
                    text = _decode(caption, words, Path(path))
                    blank += not text
                    if text:
                        writer.caption(f"{image.image_id}_{number}", row, text, split)
            if blank:
                print(f"{path}: {blank:,} captions are blank and were left out")


def _read_vocabulary(path: Path) -> list[str]:
    """The words by their numbers; number 0 is the end of a caption."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} (option vocabulary)")
    return ["", *(line.strip() for _, line in lines_of(path))]


def _read_annotations(path: Path) -> list[_Image]:
    content = load_plain(path, keep=lambda tensor: tensor.numpy())  # far smaller than a tensor
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} is refused: it is no list of annotations, as SynthImgCap's *_caption_anno_*.pkl are")
    images = []
    for number, entry in enumerate(content):
        content[number] = None  # so that no file is in memory twice
        images.append(_annotation(entry, f"{path} is refused: annotation {number}"))
    return images


def _annotation(entry: Any, what: str) -> _Image:
    if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), (str, int)):
        raise ValueError(f"{what} has no image_id")
    image_id, split_id, captions = str(entry["image_id"]), entry.get("split_id"), entry.get("target_ids")
    # The id becomes a part of a path.
    if not image_id.strip() or Path(image_id).name != image_id or not isinstance(split_id, (str, int, type(None))):
        raise ValueError(f"{what} has the image_id {image_id[:80]!a} and the split_id {split_id!a:.40}")
    if split_id is not None and Path(str(split_id)).name != str(split_id):
        raise ValueError(f"{what} has the split_id {split_id!a:.40}")
    folder = "img" if split_id is None else f"img_sp{split_id}"
    if captions is not None and not (isinstance(captions, np.ndarray) and captions.ndim == 2):
        raise ValueError(f"{what} has target_ids that are no table of words' numbers")
    numbers = [] if captions is None else captions.astype(np.int64).tolist()
    return _Image(image_id, f"{folder}/{image_id}.npz", numbers)


def _decode(numbers: list[int], words: list[str] | None, path: Path) -> str:
    if words is None:
        raise ValueError(f"{path} has captions as numbers of words: name the list of words with vocabulary=FILE")
    end = next((place for place, number in enumerate(numbers) if number <= 0), len(numbers))
    if (largest := max(numbers[:end], default=0)) >= len(words):
        raise ValueError(
            f"{path} has the word {largest}, and the vocabulary {len(words) - 1:,} words: give the one of these "
            "annotations with vocabulary=FILE"
        )
    return " ".join(words[number] for number in numbers[:end])
