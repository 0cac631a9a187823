"""CLIPScore and RefCLIPScore (Hessel et al. 2021, arXiv:2104.08718): captions judged by an encoder's own embeddings.

Images are taken from a store; candidates and references are encoded by the encoder that made it. An encoder whose
embeddings the captioner was trained on judges its own work: prefer another one (`ClipScoring.store`), and see
`ClipScoreFacts.training_encoder`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.characters import whole_characters
from common.checks import Positive, checked_dataclass
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import reload_encoder
from embedding_space.store import EmbeddingStore

NAMES = ("CLIPScore", "RefCLIPScore")


@dataclass(frozen=True)
class ClipScoreFacts:
    """How CLIPScore was taken: scores of other encoders, prefixes or weights are not comparable.

    encoder, dataset, store_hash: whose embeddings judge. prefix, reference_prefix, weight: see `ClipScoring`.
    cut_texts: see `ClipScores`. training_encoder: whether the captioner was trained on the same encoder's embeddings,
        which may favor it; None where nobody knows.
    """

    encoder: dict
    dataset: str | None = None
    store_hash: str | None = None
    prefix: str | None = None
    reference_prefix: str | None = None
    weight: float | None = None
    cut_texts: dict[str, int] | None = None
    training_encoder: bool | None = None


@checked_dataclass("clip_score.")
class ClipScoring:
    """How CLIPScore is taken: options `clip_score.*`.

    store: folder of the store whose encoder judges; None: the one that is evaluated.
    prefix: comes before each candidate and each reference, as in the authors' code (jmhessel/clipscore, class
        `CLIPCapDataset`).
    weight: w of equation 1, which stretches CLIP's usual cosines over 0 to 1; 2.5 suits CLIP ViT-B/32.
    """

    store: str | None = None
    prefix: str = "A photo depicts"
    weight: Positive = 2.5

    def facts(self, store: EmbeddingStore) -> ClipScoreFacts:
        """What a result says of scores by the store's encoder."""
        return ClipScoreFacts(
            encoder=store.manifest.encoder,
            dataset=store.path.parent.name,
            store_hash=store.hash,
            prefix=self.prefix,
            reference_prefix=self.prefix,
            weight=self.weight,
        )

    def prompts(self, captions: Iterable[str]) -> list[str]:
        """The captions as the encoder reads them."""
        before = f"{self.prefix.rstrip()} " if self.prefix else ""
        return [before + whole_characters(caption) for caption in captions]


@dataclass(frozen=True, eq=False)
class ClipScores:
    """What `score_with_store` finds of N captions.

    values: {"CLIPScore": (N,), "RefCLIPScore": (N,)}.
    cut_texts: {"captions": …, "references": …}, how many were longer, with the prefix, than the encoder reads.
    """

    values: dict[str, Tensor]
    cut_texts: dict[str, int]


def clip_score(images: Tensor, captions: Tensor, weight: float = 2.5) -> Tensor:
    """CLIPScore, equation 1, w * max(cos(image, caption), 0): unit rows (N, D) and (N, D) -> (N,)."""
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
    references: Mapping[str, Sequence[str]],
    store: EmbeddingStore,
    split: str,
    options: ClipScoring | None = None,
) -> ClipScores:
    """CLIPScore and RefCLIPScore of captions {image_id: caption}, in their order, against the same images' references.

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
    encoder = reload_encoder(store.manifest.encoder)
    ours, cut = _encoded(encoder, options.prompts(captions.values()))
    there = [references[image_id] for image_id in captions]
    image_row = torch.tensor([row for row, texts in enumerate(there) for _ in texts])
    prompts = options.prompts(text for texts in there for text in texts)
    key = hashlib.sha256(json.dumps([store.manifest.encoder, prompts]).encode()).hexdigest()
    if key not in _references:
        _references.clear()
        _references[key] = _encoded(encoder, prompts)
    theirs, cut_references = _references[key]
    scores = clip_score(store.images(split)[rows], ours, options.weight)
    both = ref_clip_score(scores, ours, theirs, image_row)
    return ClipScores({"CLIPScore": scores, "RefCLIPScore": both}, {"captions": cut, "references": cut_references})


# The last references' rows: methods that are compared are judged by the same ones.
_references: dict[str, tuple[Tensor, int]] = {}


def _encoded(encoder: Encoder, texts: list[str]) -> tuple[Tensor, int]:
    """Unit rows (M, D), and how many of the texts the encoder cut."""
    return encoder.encode_texts(texts), encoder.cut_texts(texts)
