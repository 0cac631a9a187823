"""Checks of rows: their lengths, the gap and the cosine of pairs, and whether a store's rows come from this encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import NeedsTables
from embedding_space.encoders.base import Encoder
from embedding_space.store import EmbeddingStore
from embedding_space.tables import read_tables
from evaluation.embeddings.retrieval import centroid_distance, paired_cosine
from evaluation.encoders.check import Check, in_range, judged
from evaluation.encoders.known import RANGES, KnownWeights
from evaluation.encoders.probe import in_full_precision

UNIT = 0.002  # float16 rows are within half of this
SAME = 0.99  # cosine of one text's row in float16 or bf16 to its row in float32
COMPARED = 8
UNLIKE = (
    "the encoder, the store or the pairing of images and captions is wrong, or the images are very unlike photos; "
    f"{RANGES}"
)


@dataclass(frozen=True)
class PairSample:
    """images (N, D), texts (M, D): float32 unit rows; image_rows (M,): each text's image. where: they come from."""

    images: Tensor
    texts: Tensor
    image_rows: Tensor
    where: str


def check_rows(
    encoder: Encoder, known: KnownWeights | None, store: Path, split: str, sample: int, seed: int
) -> Iterator[Check]:
    """Lengths, gap and paired cosine of a sample of pairs: of the store if there is one, else encoded from its tables.

    Args:
        store: its folder; the tables are in the folder above.
        split: of the pairs.
        sample: how many images, with their captions.
    """
    if (store / "manifest.json").exists():
        opened = EmbeddingStore(store)
        yield _same_rows(encoder, opened)
        pairs = _stored(opened, split, sample, seed)
    else:
        try:
            pairs = _encoded(encoder, store.parent, split, sample, seed)
        except (NeedsTables, FileNotFoundError):
            reason = f"neither {store} nor tables in {store.parent} are there: name a data set with dataset="
            yield Check("rows of pairs", "not checked", remark=reason)
            return
    lengths = torch.cat([pairs.images, pairs.texts]).norm(dim=1)
    passed = bool(((lengths - 1).abs() <= UNIT).all())
    shown = f"{lengths.min().item():.4f} to {lengths.max().item():.4f}"
    remedy = f"{pairs.where} holds rows that are not of unit length: delete it and prepare it again"
    yield judged("lengths of rows", passed, shown, f"1 ± {UNIT:g}", pairs.where, remedy)
    if not passed:
        return
    if not encoder.joint:
        yield Check("gap and cosine", "not checked", remark="images and texts have no joint space")
        return
    of_known = known or KnownWeights(model="")
    distance = centroid_distance(pairs.images, pairs.texts)
    cosine = paired_cosine(pairs.images, pairs.texts, pairs.image_rows)
    yield in_range("gap of the means", distance, of_known.gap, pairs.where, UNLIKE)
    yield in_range("cosine of pairs", cosine, of_known.paired_cosine, pairs.where, UNLIKE)
    if len(pairs.images) < 2:
        yield Check("cosine of pairs, of others", "not checked", remark="there is one image alone")
        return
    shuffled = paired_cosine(pairs.images, pairs.texts, (pairs.image_rows + 1) % len(pairs.images))
    remedy = "captions are no nearer to their own images than to others: the pairs or the towers are mixed up"
    shown = f"{cosine:.3f}, {shuffled:.3f}"
    yield judged("cosine of pairs, of others", cosine > shuffled, shown, "more, less", pairs.where, remedy)


def _same_rows(encoder: Encoder, store: EmbeddingStore) -> Check:
    """Whether the encoder gives the store's own text rows again."""
    name, where = "rows of the store again", str(store.path)
    if "texts" not in store.manifest.rows or not store.tables.has("captions", store.text_split):
        remark = f"the store has no texts of the split {store.text_split}"
        return Check(name, "not checked", source=where, remark=remark)
    captions = store.captions(store.text_split)
    chosen = np.linspace(0, len(captions) - 1, min(COMPARED, len(captions))).astype(int)
    stored = store.texts(store.text_split, torch.float16)[torch.from_numpy(chosen)].float()
    with in_full_precision(encoder):
        again = encoder.encode_texts([captions[row] for row in chosen])
    if stored.shape != again.shape:
        worst, shown = 0.0, f"{again.shape[1]} dimensions, {stored.shape[1]} in the store"
    else:
        worst = F.cosine_similarity(stored, again, dim=1).min().item()
        shown = f"cosine {worst:.4f}"
    where = f"{len(chosen)} captions of {store.path}"
    remedy = f"another encoder made {store.path}: delete it and prepare it again"
    return judged(name, worst >= SAME, shown, f"at least {SAME:g}", where, remedy)


def _stored(store: EmbeddingStore, split: str, sample: int, seed: int) -> PairSample:
    images, texts = store.images(split, torch.float16), store.texts(split, torch.float16)
    rows, captions, image_rows = _draw(store.pairs(split), len(images), sample, seed)
    where = f"{len(rows)} images of {store.path}, {split}"
    return PairSample(images[rows].float(), texts[captions].float(), image_rows, where)


def _encoded(encoder: Encoder, root: Path, split: str, sample: int, seed: int) -> PairSample:
    tables = read_tables(root)
    images, captions = tables.image_rows(split), tables.caption_rows(split)
    rows, chosen, image_rows = _draw(tables.pairs(split), len(images), sample, seed)
    with in_full_precision(encoder):
        pictures = encoder.encode_images(tables.image_paths(images[rows.numpy()]))
        texts = encoder.encode_texts([tables.captions["caption"][int(captions[row])].as_py() for row in chosen])
    return PairSample(pictures, texts, image_rows, f"{len(rows)} images of {root}, {split}, encoded now")


def _draw(pairs: np.ndarray, images: int, sample: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of some images that have captions, rows of their captions, and each caption's place among the images.

    Raises:
        ValueError: no image of the split has a caption.
    """
    described = np.unique(pairs)
    if not len(described):
        raise ValueError("No image of the split has a caption: choose another with split=")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(described)[torch.randperm(len(described), generator=generator)[:sample]].sort().values
    place = torch.full((images,), -1, dtype=torch.int64)
    place[rows] = torch.arange(len(rows))
    of_text = place[torch.from_numpy(np.asarray(pairs, dtype=np.int64))]
    captions = (of_text >= 0).nonzero()[:, 0]
    return rows, captions, of_text[captions]
