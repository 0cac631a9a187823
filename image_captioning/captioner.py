"""Captioner: an alignment, a prefix mapper and a causal language model, which turn an embedding into a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from alignment.chain import Alignment, in_parts
from common.checkpoint import weights_hash
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.captioning_model import CaptioningModel, Context
from image_captioning.consensus import ConsensusMemory
from image_captioning.generation import Decoding
from image_captioning.language_models import base_weights, describe, make_language_model
from image_captioning.lora import ADAPTER, add_lora, load_plain, merged_weights
from image_captioning.mappers import make_mapper
from image_captioning.prefix_parts.inputs import PrefixInputs
from image_captioning.prefix_parts.parts import PrefixParts
from image_captioning.same_space import check_same_space
from training.init_from import other_option

# Options of a decoder that do not change what its weights compute, beside every dropout.
NOT_ITS_SHAPE = ("initializer_range", "reorder_and_upcast_attn", "bos_token_id", "eos_token_id", "pad_token_id")


class Captioner(CaptioningModel[Tensor | PrefixInputs]):
    """A causal language model behind a prefix mapper (ClipCap, arXiv 2111.09734), with the alignment whose output it
    was trained on.

    Args:
        dim: D of the embeddings.
        mapper: `{"kind": mlp | transformer | linear, ...}`, see `mappers`.
        decoder: the language model's configuration, see `make_language_model`.
        alignment: entries of the alignment chain; its tensors come with the checkpoint.
        encoder: the description of the embeddings' encoder, so that new photos can be encoded alike.
        provenance: what it was trained on (data set, method, seed, uses_pairs), for results to repeat.
        base: the pretrained model (`identify`) whose weights the decoder has, unchanged: checkpoints then name it and
            hold only what was trained. None: they hold all weights.
        lora: options of `add_lora`; None for a decoder without adapters.
        parts: options of `PrefixParts`, whose tensors come with the checkpoint: it then reads `PrefixInputs`, else
            aligned rows (N, D). None: no parts.
    """

    def __init__(
        self,
        dim: int,
        mapper: dict,
        decoder: dict,
        alignment: list,
        encoder: dict,
        provenance: dict | None = None,
        base: dict | None = None,
        lora: dict | None = None,
        parts: dict | None = None,
    ):
        super().__init__(dim, Alignment.from_options(alignment, STEPS), encoder, provenance)
        self.decoder = make_language_model(decoder)
        if lora is not None:
            add_lora(self.decoder, **lora)
        width: Any = self.decoder.get_input_embeddings().embedding_dim
        self.parts = None if parts is None else PrefixParts(**parts)
        self.searches_images = self.parts is not None
        retrieves = self.parts is not None and self.parts.retrieval is not None
        self.mapper = make_mapper(dim, width, mapper, retrieves)
        self.mapper_options, self.decoder_options, self.base, self.lora = dict(mapper), dict(decoder), base, lora
        if base is not None:
            self.register_state_dict_post_hook(_leave_out_base)

    @classmethod
    def from_json(cls, **options: Any) -> Captioner:
        if "gpt2" in options:  # of earlier versions
            options["decoder"] = {"model_type": "gpt2", **options.pop("gpt2")}
        return cls(**options)

    @property
    def language_model(self) -> PreTrainedModel:
        return self.decoder

    @property
    def prefix_length(self) -> int:
        return self.mapper.prefix_length + (0 if self.parts is None else self.parts.prompt_length)

    def context(self, inputs: Tensor | PrefixInputs) -> Context:
        if isinstance(inputs, Tensor):
            return Context(self._in_its_precision(self.mapper(inputs)))
        near = [] if inputs.neighbors is None else [inputs.neighbors]
        prefix = self._in_its_precision(self.mapper(inputs.rows, *near))  # (B, P, W)
        if inputs.words is None or self.parts is None or self.parts.prompt is None:
            return Context(prefix)
        tokens, mask = self.parts.prompt(inputs.words)
        prompt = self.decoder.get_input_embeddings()(tokens).to(prefix.dtype)  # (B, T, W)
        return Context(torch.cat([prefix, prompt], dim=1), mask=F.pad(mask, (prefix.shape[1], 0), value=True))

    def _in_its_precision(self, prefix: Tensor) -> Tensor:
        """The prefix as the decoder reads it: autocast may give a full-precision decoder one in half precision, but not
        the other way round."""
        return prefix if self.decoder.dtype == torch.float32 else prefix.to(self.decoder.dtype)

    def image_inputs(
        self, aligned: Tensor, images: Tensor, store: EmbeddingStore, split: str, rows: Tensor
    ) -> Tensor | PrefixInputs:
        return self._with_parts(aligned, images)

    def encoded_inputs(self, encoded: EncodedImages) -> Tensor | PrefixInputs:
        return self._of_images(self.align_images(encoded.rows), encoded.rows)

    def _of_images(self, aligned: Tensor, images: Tensor) -> Tensor | PrefixInputs:
        if self.searches_images:
            check_same_space(self.alignment, self.encoder_description)
        return self._with_parts(aligned, images)

    def _with_parts(self, aligned: Tensor, rows: Tensor) -> Tensor | PrefixInputs:
        """What it reads of rows (N, D) that are `aligned` (N, D) after the alignment."""
        return aligned if self.parts is None else self.parts.inputs(aligned, rows, self.device)

    def _check_inputs(self, inputs: Tensor | PrefixInputs) -> None:
        if isinstance(inputs, Tensor) and self.parts is not None:
            raise ValueError(
                "This captioner reads words or captions beside aligned rows: caption raw rows by caption_images, or "
                "make inputs by image_inputs, encoded_inputs or align_texts"
            )
        super()._check_inputs(inputs if isinstance(inputs, Tensor) else inputs.rows)

    def start_from(self, trained: Captioner) -> None:
        """Copy the weights of a captioner of the same shape, whatever its alignment, dropout and adapters.

        Raises:
            ValueError: it has another decoder or mapper, or prefix parts.
        """
        if trained.parts is not None:
            raise ValueError(
                "The captioner to start from (option init_from) has prefix parts, which a training cannot go on with: "
                "name one without"
            )
        ours, theirs = ({"mapper": model.mapper_options, **_shape(model)} for model in (self, trained))
        if option := other_option(theirs, ours):
            place = "decoder" if option == "mapper" else "decoder.config"
            raise ValueError(
                f"The captioner to start from (option init_from) has {option}={theirs.get(option)!r}, here "
                f"{place}.{option} is {ours.get(option)!r}: choose the decoder= that it was trained with"
            )
        load_plain(self.decoder, merged_weights(trained.decoder))
        self.mapper.load_state_dict(trained.mapper.state_dict())

    def restore(self) -> None:
        super().restore()
        if self.parts is not None:
            self.parts.restore()
        if self.base is not None:
            load_plain(self.decoder, base_weights(self.base))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        for name in [name for name in state_dict if name.startswith(f"{prefix}gpt2.")]:  # of earlier versions
            state_dict[f"{prefix}decoder.{name.removeprefix(f'{prefix}gpt2.')}"] = state_dict.pop(name)
        if self.base is not None:  # it stays as it is
            for name, weights in self.decoder.state_dict().items():
                if ADAPTER not in name:
                    state_dict[f"{prefix}decoder.{name}"] = weights
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def weights_hash(self) -> str:
        """SHA-256 of the mapper's and the decoder's weights."""
        return weights_hash(self.mapper, self.decoder)

    def with_alignment(self, alignment: Alignment) -> Captioner:
        """A captioner with another alignment that shares this one's mapper and decoder."""
        captioner = self._like(alignment, self.base, self.lora)
        captioner.decoder = self.decoder
        return captioner.train(self.training)

    def whole(self) -> Captioner:
        """A captioner that writes the same and needs no other model: adapters are merged, and the base is copied.

        A decoder with merged adapters is in float32, whatever `decoder.dtype` is, since half precision would lose them.
        """
        if self.base is None and self.lora is None:
            return self
        decoder = self.decoder_options if self.lora is None else {**self.decoder_options, "dtype": "fp32"}
        captioner = self._like(self.alignment, decoder=decoder)
        load_plain(captioner.decoder, merged_weights(self.decoder))
        return captioner.to(self.device).train(self.training)

    def _like(
        self, alignment: Alignment, base: dict | None = None, lora: dict | None = None, decoder: dict | None = None
    ) -> Captioner:
        """A captioner with this one's mapper and tokenizer, and a new decoder of the same architecture.

        decoder: options that take the place of this one's, such as another dtype.
        """
        described = (alignment.options(), self.encoder_description, self.provenance, base, lora)
        parts = self.parts and self.parts.options()
        captioner = Captioner(self.dim, self.mapper_options, decoder or self.decoder_options, *described, parts)
        captioner.mapper, captioner.alignment, captioner.parts = self.mapper, alignment, self.parts
        captioner.tokenizer, captioner.folder = self.tokenizer, self.folder
        return captioner

    def align_texts(self, texts: Tensor, batch_size: int = 256) -> Tensor | PrefixInputs:
        """Raw text embeddings (N, D) -> inputs of aligned rows (N, D) without augmentation, as `image_inputs`.

        Their captions show what the decoder can do when there is no gap.
        """
        self._check_rows(texts, self.dim)
        return self._with_parts(in_parts(self.alignment.clean_side, texts, self.device, batch_size), texts)

    def caption_images(
        self,
        images: Tensor,
        decoding: Decoding | None = None,
        batch_size: int = 256,
        progress: bool = True,
        precision: str = "fp32",
        encoder: Encoder | None = None,
        memory: Callable[[], ConsensusMemory] | None = None,
    ) -> list[str]:
        """Captions of raw image embeddings (N, D): `caption` of their aligned rows, and of what its parts read of them.

        Args:
            encoder: embeds hypotheses for `decoding.clip_weight`; by default the embeddings' encoder is loaded.
            memory: makes the training captions for `decoding.consensus_weight`.

        Raises:
            ValueError: see `align_images` and `caption`.
        """
        decoding, inputs = decoding or Decoding(), self._of_images(self.align_images(images, batch_size), images)
        reranker = self.reranker(images, decoding, encoder, memory)
        return self.caption(inputs, decoding, batch_size, progress, precision, reranker)


def _leave_out_base(captioner: Any, state_dict: dict[str, Tensor], prefix: str, metadata: Mapping) -> None:
    """Remove the weights of the base from a captioner's state dict."""
    for name in [name for name in state_dict if name.startswith(f"{prefix}decoder.") and ADAPTER not in name]:
        del state_dict[name]


def _shape(captioner: Captioner) -> dict[str, Any]:
    """The options of the decoder that change what its weights compute."""
    options = describe(captioner.decoder.config)
    return {name: value for name, value in options.items() if name not in NOT_ITS_SHAPE and "drop" not in name}
