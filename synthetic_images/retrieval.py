"""Real photos in place of synthetic ones: for each caption an unpaired photo that suits it, by cycle consistency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from pydantic import Field
from torch import Tensor

from common.arrow import compute as pc
from common.checks import Count, checked_dataclass
from common.device import best_device
from common.processes import Processes
from embedding_space.datasets.make import stored_path
from embedding_space.splits import refuse_held_out
from embedding_space.store import EmbeddingStore
from synthetic_images.painter import UNPAIRED_PHOTOS, Commission, Painter, Painting

ELEMENTS_AT_ONCE = 2**24  # similarities, or values of captions that are compared, in memory at a time


@checked_dataclass(prefix="painter.")
class RetrievalOptions:
    """How photos are chosen.

    Attributes:
        images_split: the split of the photos; their captions are not used.
        neighbors: candidates of a caption: the photos with the greatest cosines to it.
        captions_back: captions that each candidate retrieves in turn.
        keep: share of the captions, those with the best scores, that get a photo.
        center: subtract the modality's mean from all embeddings first.
    """

    images_split: str
    neighbors: Count = 15
    captions_back: Count = 2
    keep: Annotated[float, Field(gt=0, le=1)] = 0.9
    center: bool = True


@dataclass(frozen=True)
class Chosen:
    """Which image each of M captions gets: `images` (M,) int64, and how well it suits: `scores` (M,) float32."""

    images: Tensor
    scores: Tensor


class RetrievalPainter(Painter):
    """SynC's assignment of images to captions (arXiv 2507.18616), with unpaired photos for its synthetic images.

    Every caption has a few nearest photos. The one is taken whose own nearest captions are most like the caption; SynC
    compares captions by Sentence-BERT, this by the store's text embeddings. A caption never gets its own photo.

    Args:
        store: the embeddings of the data set.
        options: how photos are chosen.
    """

    images = UNPAIRED_PHOTOS

    def __init__(self, store: EmbeddingStore, options: RetrievalOptions):
        refuse_held_out("painter.images_split", options.images_split)
        self.store, self._options = store, options

    @classmethod
    def from_config(cls, options: Mapping[str, Any], config: DictConfig) -> RetrievalPainter:
        """As `Painter.from_config`; reads the store of `dataset=` and `encoder=`.

        Raises:
            ValueError: there is no split of photos.
        """
        split = options["images_split"] or config.dataset.image_mean_split
        if split is None:
            raise ValueError("painter.images_split=null: this data set has no image_mean_split; name a split of photos")
        store = EmbeddingStore(Path(config.dataset.root) / config.encoder.name)
        return cls(store, RetrievalOptions(**{**options, "images_split": split}))

    def options(self) -> dict[str, Any]:
        return {**asdict(self._options), "store": self.store.hash}

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"encoder": self.store.manifest.encoder}

    def paint(self, commission: Commission, folder: Path, processes: Processes) -> Painting:
        options, tables = self._options, self.store.tables
        image_rows, caption_rows = tables.image_rows(options.images_split), tables.caption_rows(commission.split)
        embedded = np.flatnonzero(np.isin(commission.rows, caption_rows))  # others belong to unreadable photos
        rows = commission.rows[embedded]
        texts = self.store.texts(commission.split)[np.searchsorted(caption_rows, rows)]
        images = self.store.images(options.images_split)
        if options.center:
            texts = F.normalize(texts - self.store.mean("text"), dim=-1)
            images = F.normalize(images - self.store.mean("image"), dim=-1)
        own = pc.index_in(tables.captions["image_row"].take(pa.array(rows)), pa.array(image_rows))
        own = torch.from_numpy(pc.fill_null(own, -1).to_numpy().astype(np.int64))
        device = best_device()
        chosen = choose_images(
            texts.to(device), images.to(device), own.to(device), options.neighbors, options.captions_back
        )
        count = max(1, round(options.keep * len(rows)))
        best = chosen.scores.argsort(descending=True, stable=True)[:count].sort().values.cpu().numpy()
        photos = tables.image_paths(image_rows[chosen.images.cpu().numpy()[best]])
        return Painting(embedded[best], [stored_path(photo, folder) for photo in photos])


def choose_images(texts: Tensor, images: Tensor, own: Tensor, neighbors: int, captions_back: int) -> Chosen:
    """For each caption the image, among its nearest ones, that retrieves the captions most like it.

    Args:
        texts: (M, D) unit rows.
        images: (N, D) unit rows.
        own: (M,) int64: the image that a caption must not get; -1 for none.
        neighbors: candidates of a caption, fewer where there are fewer images.
        captions_back: captions that a candidate retrieves.

    Raises:
        ValueError: there is no image but a caption's own one.
    """
    if len(images) < 1 + int((own >= 0).any()):
        raise ValueError(f"{len(images)} photos are too few to give captions others than their own")
    back = min(captions_back, len(texts))
    retrieved = torch.cat([(part @ texts.T).topk(back).indices for part in _parts(images, len(texts))])  # (N, back)
    candidates = min(neighbors, len(images))
    images_of, scores = [], []
    start = 0
    for part in _parts(texts, max(len(images), candidates * back * texts.shape[1])):  # (B, D)
        mine = own[start : start + len(part), None]  # (B, 1)
        near = (part @ images.T).masked_fill(torch.arange(len(images), device=own.device) == mine, -torch.inf)
        near = near.topk(candidates)
        said = texts[retrieved[near.indices]]  # (B, candidates, back, D)
        score = torch.einsum("bd,bckd->bck", part, said).amax(dim=-1)  # (B, candidates)
        best = score.masked_fill(near.values.isneginf(), -torch.inf).max(dim=-1, keepdim=True)
        images_of.append(near.indices.gather(1, best.indices)[:, 0])
        scores.append(best.values[:, 0])
        start += len(part)
    return Chosen(torch.cat(images_of), torch.cat(scores))


def _parts(rows: Tensor, width: int) -> Iterator[Tensor]:
    """Successive rows, so many that a matrix of them by `width` fits in memory."""
    yield from rows.split(max(1, ELEMENTS_AT_ONCE // width))
