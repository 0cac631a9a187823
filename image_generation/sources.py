"""What draws: a generator of our own, or the pretrained unCLIP decoder, each with the sentences' way to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from alignment.chain import Alignment
from alignment.options import expand_steps
from common.plain import plain
from common.randomness import drawn_rows
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import reload_encoder
from embedding_space.pictures import open_picture
from embedding_space.store import EmbeddingStore
from embedding_space.tables import read_tables
from image_captioning.alignments import STEPS
from image_generation.candidates import cosines_to_rows
from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator
from image_generation.unclip import ImageDecoder, as_image_embeddings
from modality_translation.translation import Translation, load_translation


class PictureSource(Protocol):
    """Draws pictures of sentences."""

    @property
    def name(self) -> str:
        """Of the method, for tables and labels."""
        ...

    @property
    def uses_pairs(self) -> bool: ...

    @property
    def encoder(self) -> Encoder:
        """That of the sentences."""
        ...

    def rows(self, sentences: Sequence[str]) -> Tensor:
        """(N, D) what pictures of N sentences are drawn from."""
        ...

    @property
    def batch_size(self) -> int:
        """Pictures that are drawn at once."""
        ...

    def draw(self, rows: Tensor, seeds: Sequence[int], guidance: float | None) -> list[Image.Image]:
        """A picture for each row and seed; `guidance` None is the source's own."""
        ...

    def cosines(self, pictures: Sequence[Image.Image], rows: Tensor) -> Tensor:
        """(N,) between the embeddings of drawn pictures and the rows (N, D) that they were drawn from."""
        ...

    def facts(self) -> dict[str, Any]:
        """What results record of it."""
        ...


@dataclass
class TrainedGenerator:
    """A generator of `python -m image_generation.train`, with the encoder that it was trained with."""

    generator: ImageGenerator
    encoder: Encoder
    name: str
    sampling: Sampling
    precision: str

    @property
    def uses_pairs(self) -> bool:
        return bool(self.generator.provenance.get("uses_pairs", True))

    def rows(self, sentences: Sequence[str]) -> Tensor:
        return self.generator.align(self.encoder.encode_texts(list(sentences)))

    @property
    def batch_size(self) -> int:
        return self.sampling.batch_size

    def draw(self, rows: Tensor, seeds: Sequence[int], guidance: float | None) -> list[Image.Image]:
        sampling = self.sampling if guidance is None else replace(self.sampling, guidance=guidance)
        drawn = self.generator.generate(rows, seeds, sampling, self.precision)
        return [Image.fromarray(picture) for picture in drawn.numpy()]

    def cosines(self, pictures: Sequence[Image.Image], rows: Tensor) -> Tensor:
        return cosines_to_rows(self.generator, self.encoder, pictures, rows)

    def facts(self) -> dict[str, Any]:
        return {"checkpoint": str(self.generator.folder), **self.generator.provenance}


@dataclass
class Unclip:
    """A pretrained unCLIP decoder behind an alignment or a translation; nothing is trained.

    Attributes:
        decoder: of unCLIP.
        options: `generator.*` of the config.
        encoder: of the sentences.
        way: from (N, D) text embeddings to (N, D') image embeddings.
        images: (M, D') training images, for an alignment.
        length: that image embeddings are given.
        provenance: what results record of the way.
    """

    decoder: ImageDecoder
    options: Mapping[str, Any]
    encoder: Encoder
    way: Alignment | Translation
    images: Tensor
    length: float
    name: str
    provenance: dict[str, Any]

    @property
    def uses_pairs(self) -> bool:
        return isinstance(self.way, Translation) or self.way.uses_pairs

    def rows(self, sentences: Sequence[str]) -> Tensor:
        texts = self.encoder.encode_texts(list(sentences))
        if isinstance(self.way, Translation):
            return self.way.translate(texts, "text_to_image", **self.options["translation_sampling"])
        return as_image_embeddings(self.way.inference_side(texts), self.way, self.images)

    @property
    def batch_size(self) -> int:
        return self.options["batch_size"]

    def draw(self, rows: Tensor, seeds: Sequence[int], guidance: float | None) -> list[Image.Image]:
        options = self.options
        scale = options["decoder_guidance_scale"] if guidance is None else guidance
        return self.decoder.generate(
            rows, self.length, seeds, options["batch_size"], options["decoder_steps"],
            options["super_resolution_steps"], scale,
        )  # fmt: skip

    def cosines(self, pictures: Sequence[Image.Image], rows: Tensor) -> Tensor:
        encoded = self.decoder.encode(pictures)
        return F.cosine_similarity(encoded, rows.cpu(), dim=-1)

    def facts(self) -> dict[str, Any]:
        return {"weights": self.options["weights"], "embedding_length": self.length, **self.provenance}


def make_sources(config: DictConfig) -> Sequence[PictureSource]:
    """The sources of `configs/generate_images.yaml`: one for each checkpoint, or the unCLIP decoder.

    Raises:
        ValueError: an unknown kind, or options that do not fit.
        FileNotFoundError: weights are missing.
    """
    kind = config.generator.kind
    if kind == "unclip":
        return [_unclip(config)]
    if kind != "checkpoint":
        raise ValueError(f"generator.kind={kind!r} must be checkpoint or unclip")
    if config.translation is not None:
        raise ValueError(f"translation={config.translation} needs generator=karlo: a generator has its own alignment")
    if "alignment" in config:
        raise ValueError(
            f"alignment={config.alignment.name} needs generator=karlo: a generator draws through its own alignment (of "
            "another with the same training side: scripts/eval_generation.py)"
        )
    sampling, names = Sampling(**plain(config.sampling)), plain(config.checkpoint)
    if not names:
        raise ValueError("checkpoint=[] leaves nothing to draw with: give at least one generator")
    models = [ImageGenerator.load(name) for name in names]
    described = {json.dumps(model.encoder_description, sort_keys=True): model.encoder_description for model in models}
    encoders = {key: reload_encoder(description) for key, description in described.items()}  # each loaded once
    labels = [str(model.provenance.get("alignment", name)) for model, name in zip(models, names, strict=True)]
    if len(set(labels)) < len(labels):
        labels = [Path(name).name for name in names]
    return [
        TrainedGenerator(
            model, encoders[json.dumps(model.encoder_description, sort_keys=True)], label, sampling, config.precision
        )
        for model, label in zip(models, labels, strict=True)
    ]


def _unclip(config: DictConfig) -> Unclip:
    options = plain(config.generator)
    if config.translation is not None and "alignment" in config:
        raise ValueError(f"alignment={config.alignment.name} and translation={config.translation}: give one of them")
    decoder = ImageDecoder(options["weights"])
    store = EmbeddingStore(config.store, training_modality="images") if config.translation is None else None
    if store is None:
        translation = load_translation(str(config.translation))
        decoder.check_width(translation.dims["images"])
        way, described, images = translation, translation.encoders["texts"], torch.empty(0)
        name, provenance = "translation", {"translation": translation.provenance}
    else:
        decoder.check_width(store.dim)
        if "alignment" not in config:
            raise ValueError("generator=karlo needs the sentences' way to images: give alignment=c3 or translation=...")
        way = Alignment.from_store(expand_steps(config.alignment, STEPS), STEPS, store)
        described, images = store.manifest.encoder, store.images(store.training_split)
        name, provenance = config.alignment.name, {"alignment": config.alignment.name, "store_hash": store.hash}
    length = options["embedding_length"]
    if length is None:  # stores have unit rows
        length = decoder.encode(_training_pictures(config, options["length_pictures"])).norm(dim=-1).mean().item()
    return Unclip(decoder, options, reload_encoder(described), way, images, length, f"karlo_{name}", provenance)


def _training_pictures(config: DictConfig, count: int) -> list[Image.Image]:
    tables = read_tables(Path(config.dataset.root))
    rows = tables.image_rows(config.dataset.image_mean_split)
    chosen = rows[drawn_rows(len(rows), count, config.seed, 9).numpy()]
    return [open_picture(path) for path in tables.image_paths(chosen)]
