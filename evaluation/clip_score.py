"""CLIPScore and RefCLIPScore (Hessel et al. 2021, arXiv:2104.08718): captions judged by an encoder's own embeddings.

Images and references are taken from a store, the candidate captions are encoded by the encoder that made it. An encoder
whose embeddings the captioner was trained on judges its own work: prefer another one (`ClipScoring.store`), and see
`training_encoder` in the results. Figures of different encoders, prefixes or weights are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from embedding_space.encoders import reload_encoder
from embedding_space.store import EmbeddingStore

NAMES = ("CLIPScore", "RefCLIPScore")


@dataclass(frozen=True)
class ClipScoring:
    """How CLIPScore is measured: options `clip_score.*`.

    store: folder of the store whose encoder judges; None: the one that is evaluated.
    prefix: stands before each candidate where it is held against an image. The authors' code puts it before the
        references, too; here both sides of the text-text cosine go without, as the store has the references.
    weight: w of equation 1, which stretches CLIP's usual cosines over 0 to 1; 2.5 suits CLIP ViT-B/32.
    """

    store: str | None = None
    prefix: str = "A photo depicts"
    weight: float = 2.5

    def __post_init__(self):
        if not self.weight > 0:
            raise ValueError(f"clip_score.weight={self.weight} must be positive")

    def facts(self, store: EmbeddingStore) -> dict:
        """What a figure must say of how it was measured."""
        return {
            "encoder": store.manifest["encoder"],
            "dataset": store.path.parent.name,
            "store_hash": store.hash,
            "prefix": self.prefix,
            "reference_prefix": "",
            "weight": self.weight,
        }


def clip_score(images: Tensor, captions: Tensor, weight: float = 2.5) -> Tensor:
    """w * max(cos(image, caption), 0), equation 1: unit rows (N, D) and (N, D) -> (N,)."""
    return weight * (images * captions).sum(-1).clamp(min=0)


def ref_clip_score(clip_scores: Tensor, captions: Tensor, references: Tensor, image_row: Tensor) -> Tensor:
    """Harmonic mean of `clip_score` (N,) and the greatest cosine, at least 0, of a caption to its references (N,).

    captions: (N, D) and references: (M, D), unit rows; image_row: (M,) int64, the caption that each reference is for.
    """
    cosines = (captions[image_row] * references).sum(-1)
    best = torch.zeros(len(captions)).scatter_reduce(0, image_row, cosines, reduce="amax")  # with the 0 that is there
    return 2 * clip_scores * best / (clip_scores + best).clamp(min=torch.finfo(torch.float32).tiny)


def score_with_store(
    captions: Mapping[str, str],
    store: EmbeddingStore,
    split: str,
    options: ClipScoring | None = None,
    left_out: Tensor | None = None,
) -> dict[str, Tensor]:
    """CLIPScore (N,) of captions {image_id: caption}, in their order, and RefCLIPScore where all have references.

    left_out: rows of the split's captions that are no references.

    Raises ValueError for an image that the split does not have, and for an encoder without a joint space or one that
    cannot be loaded any more (`load_encoder`).
    """
    options = options or ClipScoring()
    _ = store.dim  # raises where there is no joint space
    place = {image_id: row for row, image_id in enumerate(store.image_ids(split))}
    if unknown := [image_id for image_id in captions if image_id not in place]:
        raise ValueError(
            f"{store.path} has no image {unknown[0]!r} in its split {split!r} ({len(unknown)} of {len(captions)} are "
            "missing): name the store and the split of the images with clip_score.store=... split=..."
        )
    rows = torch.tensor([place[image_id] for image_id in captions])
    encoder, texts = reload_encoder(store.manifest["encoder"]), list(captions.values())
    bare = encoder.encode_texts(texts)
    prefixed = encoder.encode_texts([f"{options.prefix.rstrip()} {text}" for text in texts]) if options.prefix else bare
    scores = {"CLIPScore": clip_score(store.images(split)[rows], prefixed, options.weight)}
    if store.tables.has("captions", split):
        references, image_row = _references(store, split, rows, left_out)
        if len(torch.unique(image_row)) == len(rows):
            scores["RefCLIPScore"] = ref_clip_score(scores["CLIPScore"], bare, references, image_row)
    return scores


def _references(store: EmbeddingStore, split: str, rows: Tensor, left_out: Tensor | None) -> tuple[Tensor, Tensor]:
    """References (M, D) of the images `rows` (N,) of the split, and which of those each is for (M,)."""
    position = torch.full((len(store.tables.image_rows(split)),), -1)
    position[rows] = torch.arange(len(rows))
    image_row = position[torch.from_numpy(store.pairs(split))]
    used = image_row >= 0
    if left_out is not None:
        used[left_out] = False
    return store.texts(split)[used], image_row[used]
