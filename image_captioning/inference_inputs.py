"""What a captioner reads in an evaluation: rows of a split, and what they go through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignment.chain import Alignment
from alignment.steps import Center
from common.config import drop_nulls
from embedding_space.encoders.identity import describe_encoder, is_same_encoder
from embedding_space.store import EmbeddingStore
from evaluation.captions.scoring_options import ReferenceSet, split_references
from evaluation.captions.training_text import TrainingSource
from image_captioning.captioning_model import CaptioningModel
from image_captioning.checkpoints import checkpoint_sha256
from image_captioning.same_space import check_same_space

READ_FROM = ("images", "texts")
IMAGE_MEANS = ("checkpoint", "store")


@dataclass(frozen=True)
class InferenceInputs:
    """The images of `split` in `store` that have captions to score against, and how they are read.

    image_store: where the images' embeddings are, if another encoder made them: another view of the same data set, for
        a chain that translates.
    caption_from: `images`; or `texts`, an oracle without a gap: each image's caption is written from the embedding of
        its first reference, and scored against its other references.
    alignment: a chain in the place of the captioner's, with the same training side; the captioner's image mean stays.
    image_side: other values for options of the alignment's inference side; None leaves one as it is.
    image_mean_from: the image mean that is subtracted: `checkpoint`, the captioner's, of the data set that it was
        trained on; or `store`, of this data set's own unpaired training images. Never of the images captioned.
    training_store: where the captioner's training text is, if it is not in `store`.
    batch_size, precision: of the decoder, as for `CaptioningModel.caption`.
    """

    store: EmbeddingStore
    split: str
    image_store: EmbeddingStore | None = None
    caption_from: str = "images"
    alignment: Alignment | None = None
    image_side: Mapping[str, Any] = field(default_factory=dict)
    image_mean_from: str = "checkpoint"
    training_store: str | Path | None = None
    batch_size: int = 256
    precision: str = "fp32"

    def __post_init__(self):
        for option, known in (("image_mean_from", IMAGE_MEANS), ("caption_from", READ_FROM)):
            if getattr(self, option) not in known:
                raise ValueError(f"{option}={getattr(self, option)!r} must be one of {', '.join(known)}")

    @property
    def images_from(self) -> EmbeddingStore:
        return self.image_store or self.store

    def references(self) -> ReferenceSet:
        """What the captions are scored against. Raises ValueError when the split cannot be evaluated."""
        references = split_references(self.store, self.split)
        return references.without_first() if self.caption_from == "texts" else references

    def recorded(self, captioner: CaptioningModel) -> dict[str, Any]:
        """What decides the captions, as an evaluation records it."""
        other = {} if self.images_from.hash == self.store.hash else {"image_store": self.images_from.hash}
        return {
            "checkpoint": captioner.folder and checkpoint_sha256(captioner.folder),
            "store": self.store.hash,
            **other,
            "split": self.split,
            "caption_from": self.caption_from,
            "image_mean_from": self.image_mean_from,
            "alignment": self.alignment and self.alignment.hash,
            "image_side": drop_nulls(self.image_side),
            "precision": self.precision,
            "training_store": self.training_store and str(self.training_store),
            **captioner.inference_changes,
        }

    def image_chain(self, captioner: CaptioningModel) -> tuple[Alignment, dict[str, str | None]]:
        """What the images go through, and where the mean that it subtracts comes from.

        Raises:
            ValueError: the captioner's decoder was not trained on the chain's training side; an option of `image_side`
                is unknown; there is no image mean.
        """
        chain = captioner.alignment
        if self.alignment is not None:
            chain.check_training_side(self.alignment.to(captioner.device), captioner.dim)
            means = [step.inference_mean for step in chain.steps if isinstance(step, Center)]
            chain = self.alignment
            if means and chain.centers_inference_rows:
                chain = chain.with_inference_mean(means[0])
        chain = chain.with_inference_options(drop_nulls(self.image_side)).to(captioner.device)
        if self.image_mean_from == "store":
            origin = self.store.path.parent.name, self.store.manifest.image_mean_split, self.store.hash
            chain = chain.with_inference_mean(self.store.mean("image"))
        elif not chain.centers_inference_rows:
            return chain, {"from": None}
        else:
            origin = map(captioner.provenance.get, ("dataset", "image_mean_split", "store_hash"))
        known = dict(zip(("dataset", "split", "store_hash"), origin, strict=True))
        return chain, {"from": self.image_mean_from, **known}

    def rows(self, image_ids: list[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Which of the split's images are captioned (N,), their rows (N, D), text rows (M, D) of the split, each text's
        image (M,)."""
        captioned = set(image_ids)
        rows = torch.tensor([row for row, i in enumerate(self.store.image_ids(self.split)) if i in captioned])
        place = torch.full((int(rows.max()) + 1,), -1)
        place[rows] = torch.arange(len(rows))
        image_row = place[torch.from_numpy(self.store.pairs(self.split))]
        return rows, self.images_from.images(self.split)[rows], self.store.texts(self.split), image_row

    def training_source(self, captioner: CaptioningModel) -> TrainingSource:
        """Where the text is that the captioner was trained on, or why that is not known.

        Raises:
            ValueError: `training_store` is not what the captioner was trained on.
            FileNotFoundError: there is no such store.
        """
        if self.training_store is not None:
            return named_training_source(self.training_store, captioner)
        return training_source(self.store, captioner)


def training_source(store: EmbeddingStore, captioner: CaptioningModel) -> TrainingSource:
    """The text of `store` that the captioner was trained on, or why it is not there."""
    trained, store = captioner.provenance, as_trained_on(store, captioner)
    known = {"encoder": captioner.encoder_description, "not_compared": trained.get("init_from")}
    if trained.get("store_hash") != store.hash:
        reason = (
            f"the captioner was trained on another store ({trained.get('dataset')}, hash "
            f"{str(trained.get('store_hash'))[:12]}) than {store.path} (hash {store.hash[:12]})"
        )
        return TrainingSource(unavailable=f"{reason}: name it with training_store=...", elsewhere=True, **known)
    split = trained.get("train_split") or (store.text_split if trained.get("train_on") == "text" else None)
    if split is None:
        reason = "the captioner's checkpoint does not say which split it was trained on: train it again"
        return TrainingSource(unavailable=reason, **known)
    return TrainingSource(store, split, **known)


def named_training_source(store: str | Path, captioner: CaptioningModel) -> TrainingSource:
    """As `training_source` of the store that the option `training_store` names.

    Raises:
        ValueError: the captioner was trained on another one.
        FileNotFoundError: there is no such store.
    """
    source = training_source(EmbeddingStore(store), captioner)
    if source.elsewhere:
        raise ValueError(
            f"training_store={store} is not the one that the captioner was trained on: {source.unavailable}"
        )
    return source


def as_trained_on(store: EmbeddingStore, captioner: CaptioningModel) -> EmbeddingStore:
    """The part of the captions of `store` that the captioner was trained on, if it was on a part, else `store`."""
    part = captioner.provenance.get("part_of")
    return store.with_captions(part["captions"]) if part and part["store_hash"] == store.manifest.hash else store


def first_texts(image_row: Tensor, images: int) -> Tensor:
    """(N,) the row of each image's first text, given each text's image (M,)."""
    first = torch.full((images,), len(image_row))
    return first.scatter_reduce(0, image_row, torch.arange(len(image_row)), reduce="amin")


def check_encoder(
    captioner: CaptioningModel,
    store: EmbeddingStore,
    image_store: EmbeddingStore | None = None,
    alignment: Alignment | None = None,
) -> None:
    """Raises ValueError when the captioner reads embeddings of another encoder, or of other dimensions, even under
    another alignment; its images may come from another view of the same data set."""
    image_store, chain = image_store or store, alignment or captioner.alignment
    if image_store.manifest.tables_hash != store.manifest.tables_hash:
        raise ValueError(f"image_store={image_store.path} and store={store.path} are of different data sets")
    if captioner.searches_images:
        check_same_space(chain, captioner.encoder_description)
    translates = chain.inference_dim is not None
    image_encoder = chain.inference_encoder or captioner.encoder_description
    for modality, rows, encoder, dim in (
        ("texts", store, captioner.encoder_description, captioner.dim),
        ("images", image_store, image_encoder, chain.inference_dim or captioner.dim),
    ):
        theirs = rows.manifest.encoder
        width = rows.manifest.dim_of(modality) if translates else rows.dim
        if dim != width or not is_same_encoder(encoder, theirs):
            raise ValueError(
                f"The captioner reads {modality} of {describe_encoder(encoder)} with {dim} dimensions, but {rows.path} "
                f"holds those of {describe_encoder(theirs)} with {width}: choose the store of the same encoder with "
                "encoder=..., or store=..."
            )
