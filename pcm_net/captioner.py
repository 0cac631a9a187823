"""PCMNet: mix-up, visual-semantic encoder and sentence decoder, behind an alignment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertGenerationDecoder, PreTrainedModel

from alignment.chain import Alignment
from common.registry import look_up
from embedding_space.encoders.base import EncodedImages as EncodedFiles
from embedding_space.encoders.fit import picture_fit
from embedding_space.store import EmbeddingStore
from evaluation.captions.patch_selection import PatchSelection
from image_captioning.alignments import STEPS
from image_captioning.captioning_model import CaptioningModel, Context
from image_captioning.concepts import Concepts
from image_captioning.data import check_finite
from image_captioning.language_models import make_language_model
from image_captioning.lora import add_lora
from image_captioning.mappers import make_mapper
from pcm_net.decoder import DecoderOptions, make_decoder
from pcm_net.encoder import NetworkOptions, VisualSemanticEncoder
from pcm_net.inputs import PatchInputs, read
from pcm_net.mixup import MixedPatches, MixupOptions, PatchMixup

KIND = "pcm_net"  # in config.json, by which a checkpoint is known


class PCMNet(CaptioningModel[PatchInputs]):
    """PCM-Net (Luo et al. 2024, "Unleashing Text-to-Image Diffusion Prior for Zero-Shot Image Captioning").

    Args:
        dim: D of the joint space.
        patch_width: W of the patches' features.
        patches: N of an image.
        concepts: the names of the vocabulary.
        mixup: see `MixupOptions`.
        network: see `NetworkOptions`.
        decoder: `{"kind": "cross_attention", "vocabulary": V, **DecoderOptions}` for the paper's decoder, or `{"kind":
            "prefix", "mapper": {...}, "language_model": {...}, "lora": None}` for a language model that reads a prefix
            made from the fused global state (the paper's section 4.4).
        alignment, encoder, provenance: as of `CaptioningModel`. The alignment makes the global rows.
        kind: `KIND`.
    """

    reads_patches = True
    searches_images = True  # concepts, for the mix-up

    def __init__(
        self,
        dim: int,
        patch_width: int,
        patches: int,
        concepts: list,
        mixup: dict,
        network: dict,
        decoder: dict,
        alignment: list,
        encoder: dict,
        provenance: dict | None = None,
        kind: str = KIND,
    ):
        super().__init__(dim, Alignment.from_options(alignment, STEPS), encoder, provenance)
        if kind != KIND:
            raise ValueError(f"it is a {kind}, not a {KIND}")
        self.concepts, self.patch_shape = list(concepts), (patches, patch_width)
        options = NetworkOptions(**network)
        self.mixup = PatchMixup(len(concepts), dim, MixupOptions(**mixup))
        self.encoder = VisualSemanticEncoder(dim, patch_width, patches, options)
        decoder = dict(decoder)
        make = look_up(decoder.pop("kind", None), DECODERS, "decoder", "decoder.kind")
        self.mapper, self.decoder, self.output_dropout = make(options.width, decoder)

    def use_concepts(self, concepts: Concepts, origin: str) -> None:
        """Put another vocabulary in the place of the one that it was trained with.

        Args:
            origin: what evaluations record of it.

        Raises:
            ValueError: they are fewer than `mixup.concepts`.
        """
        mixup = PatchMixup(len(concepts.names), self.dim, self.mixup.options)
        mixup.concepts.copy_(concepts.rows)
        self.mixup, self.concepts = mixup.to(self.device), list(concepts.names)
        self.inference_changes = {"concepts": origin}

    @property
    def language_model(self) -> Any:
        return self.decoder

    @property
    def prefix_length(self) -> int:
        return 1 if self.mapper is None else self.mapper.prefix_length

    def context(self, inputs: PatchInputs) -> Context:
        features, patches = read(inputs.features), read(inputs.patches)
        encoded = self.encoder(inputs.rows, features.float(), self.mixup(inputs.images, patches))
        if self.mapper is not None:
            return Context(self.mapper(encoded.states[:, 0]))
        begin = torch.full((len(inputs), 1), self.decoder.config.bos_token_id, device=encoded.states.device)
        return Context(self.decoder.get_input_embeddings()(begin), encoded)

    def logits(self, inputs: PatchInputs, tokens: Tensor) -> Tensor:
        hidden = F.dropout(self._hidden(inputs, tokens), self.output_dropout, self.training)
        return self.decoder.get_output_embeddings()(hidden)

    def image_inputs(
        self, aligned: Tensor, images: Tensor, store: EmbeddingStore, split: str, rows: Tensor
    ) -> PatchInputs:
        patches, features = store.patches(split), store.patch_features(split)
        return PatchInputs(aligned, images, patches.take(rows), features.take(rows))

    def encoded_inputs(self, encoded: EncodedFiles) -> PatchInputs:
        if encoded.patches is None or encoded.patch_features is None:
            raise ValueError("PCM-Net reads patches: encode the pictures with patches=True")
        aligned = self.align_images(encoded.rows)
        return PatchInputs(aligned, encoded.rows, encoded.patches, encoded.patch_features)

    def named(self, mixed: MixedPatches) -> list[PatchSelection]:
        """What a mix-up selects, by numbers of places and names of concepts."""
        grid, fit = math.isqrt(self.patch_shape[0]), picture_fit(self.image_encoder_description)
        return [
            PatchSelection(grid, fit, selected.nonzero()[:, 0].tolist(), [self.concepts[number] for number in salient])
            for selected, salient in zip(mixed.selected, mixed.salient.tolist(), strict=True)
        ]

    def patch_selections(self, inputs: PatchInputs) -> list[PatchSelection] | None:
        return self.named(self.mixup.select(inputs.images, inputs.patches)) if self.mixup.options.pairs else None

    def _check_inputs(self, inputs: PatchInputs) -> None:
        self._check_rows(inputs.rows, self.dim)
        check_finite(inputs.images, "the images")
        count, width = self.patch_shape
        for name, shape, expected in (
            ("patches", inputs.patches.shape, (count, self.dim)),
            ("features of patches", inputs.features.shape, (count, width)),
        ):
            if tuple(shape[1:]) != expected:
                raise ValueError(
                    f"This captioner reads {expected[0]} {name} of {expected[1]} numbers an image, from the encoder "
                    f"{self.encoder_description.get('name')}; got {' x '.join(map(str, shape[1:]))}: prepare the data "
                    "with the encoder and encoder.patch_pool that it was trained with"
                )


def _cross_attention(width: int, options: Mapping) -> tuple[None, BertGenerationDecoder, float]:
    options = dict(options)
    vocabulary, end = options.pop("vocabulary"), options.pop("end", 0)
    chosen = DecoderOptions(**options)
    return None, make_decoder(vocabulary, width, end, chosen), chosen.output_dropout


def _prefix(width: int, options: Mapping) -> tuple[Any, PreTrainedModel, float]:
    model = make_language_model(options.get("language_model") or options["gpt2"])  # its name in earlier versions
    if options.get("lora") is not None:
        add_lora(model, **options["lora"])
    embedding: Any = model.get_input_embeddings()
    return make_mapper(width, embedding.embedding_dim, options["mapper"]), model, 0.0


DECODERS = {"cross_attention": _cross_attention, "prefix": _prefix}
