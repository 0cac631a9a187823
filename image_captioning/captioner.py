"""Captioner: an alignment, a prefix mapper and GPT-2, which turn an embedding into a sentence."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from alignment.chain import Alignment, in_parts
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.captioning_model import CaptioningModel, Context
from image_captioning.generation import Decoding
from image_captioning.mappers import make_mapper
from image_captioning.prefix_parts.inputs import PrefixInputs
from image_captioning.prefix_parts.parts import PrefixParts

# The configuration of a GPT-2: the options of decoder.config, and what a checkpoint records of a pretrained one.
GPT2_OPTIONS = (
    "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function",
    "resid_pdrop", "embd_pdrop", "attn_pdrop", "layer_norm_epsilon", "initializer_range",
    "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn",
    "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings",
)  # fmt: skip
# Those of them that change what the weights compute.
GPT2_SHAPE = (
    "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function", "layer_norm_epsilon",
    "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings",
)  # fmt: skip


class Captioner(CaptioningModel[Tensor | PrefixInputs]):
    """GPT-2 behind a prefix mapper (ClipCap, arXiv 2111.09734), with the alignment whose output it was trained on.

    Args:
        dim: D of the embeddings.
        mapper: `{"kind": mlp | transformer | linear, ...}`, see `mappers`.
        gpt2: the whole GPT-2 configuration (`GPT2_OPTIONS`).
        alignment: entries of the alignment chain; its tensors come with the checkpoint.
        encoder: the description of the embeddings' encoder, so that new photos can be encoded alike.
        provenance: what it was trained on (data set, method, seed, uses_pairs), for results to repeat.
        parts: options of `PrefixParts`, whose tensors come with the checkpoint: it then reads `PrefixInputs`, else
            aligned rows (N, D). None: no parts.
    """

    def __init__(
        self,
        dim: int,
        mapper: dict,
        gpt2: dict,
        alignment: list,
        encoder: dict,
        provenance: dict | None = None,
        parts: dict | None = None,
    ):
        super().__init__(dim, Alignment.from_options(alignment, STEPS), encoder, provenance)
        unknown = set(gpt2) - set(GPT2_OPTIONS)
        if unknown:
            raise ValueError(
                f"GPT-2 has no option {sorted(unknown)[0]!r} (decoder.config); known: {', '.join(GPT2_OPTIONS)}"
            )
        self.gpt2 = GPT2LMHeadModel(GPT2Config(**gpt2))
        self.parts = None if parts is None else PrefixParts(**parts)
        retrieves = self.parts is not None and self.parts.retrieval is not None
        self.mapper = make_mapper(dim, self.gpt2.config.n_embd, mapper, retrieves)
        self.mapper_options, self.gpt2_options = dict(mapper), dict(gpt2)

    @property
    def language_model(self) -> GPT2LMHeadModel:
        return self.gpt2

    @property
    def prefix_length(self) -> int:
        return self.mapper.prefix_length + (0 if self.parts is None else self.parts.prompt_length)

    def context(self, inputs: Tensor | PrefixInputs) -> Context:
        if isinstance(inputs, Tensor):
            return Context(self.mapper(inputs))
        near = [] if inputs.neighbors is None else [inputs.neighbors]
        prefix = self.mapper(inputs.rows, *near)  # (B, P, W)
        if inputs.words is None or self.parts is None or self.parts.prompt is None:
            return Context(prefix)
        tokens, mask = self.parts.prompt(inputs.words)
        prompt = self.language_model.get_input_embeddings()(tokens).to(prefix.dtype)  # (B, T, W)
        mask = torch.cat([torch.ones_like(mask[:, :1]).expand(-1, prefix.shape[1]), mask], dim=1)
        return Context(torch.cat([prefix, prompt], dim=1), mask=mask)

    def image_inputs(
        self, aligned: Tensor, images: Tensor, store: EmbeddingStore, split: str, rows: Tensor
    ) -> Tensor | PrefixInputs:
        return self._with_parts(aligned, images)

    def encoded_inputs(self, encoded: EncodedImages) -> Tensor | PrefixInputs:
        return self._with_parts(self.align_images(encoded.rows), encoded.rows)

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
        """Copy the weights of a captioner of the same shape, whatever its alignment and dropout.

        Raises:
            ValueError: it has another decoder or mapper.
        """
        ours, theirs = ({"mapper": model.mapper_options, **model.gpt2.config.to_dict()} for model in (self, trained))
        for option in ("mapper", *GPT2_SHAPE):
            if ours[option] != theirs[option]:
                place = "decoder" if option == "mapper" else "decoder.config"
                raise ValueError(
                    f"The captioner to start from (option init_from) has {option}={theirs[option]!r}, here "
                    f"{place}.{option} is {ours[option]!r}: choose the decoder= that it was trained with"
                )
        self.gpt2.load_state_dict(trained.gpt2.state_dict())
        self.mapper.load_state_dict(trained.mapper.state_dict())

    def restore(self) -> None:
        super().restore()
        if self.parts is not None:
            self.parts.restore()

    def weights_hash(self) -> str:
        """SHA-256 of the mapper's and GPT-2's weights."""
        digest = hashlib.sha256()
        for module in (self.mapper, self.gpt2):
            for name, values in module.state_dict().items():
                digest.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def with_alignment(self, alignment: Alignment) -> Captioner:
        """A captioner with another alignment that shares this one's mapper and decoder."""
        described = (alignment.options(), self.encoder_description, self.provenance)
        parts = self.parts and self.parts.options()
        captioner = Captioner(self.dim, self.mapper_options, self.gpt2_options, *described, parts)
        captioner.parts = self.parts
        captioner.mapper, captioner.gpt2, captioner.alignment = self.mapper, self.gpt2, alignment
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
    ) -> list[str]:
        """Captions of raw image embeddings (N, D): `caption` of their aligned rows, and of what its parts read of them.

        Args:
            encoder: embeds hypotheses for `decoding.clip_weight`; by default the embeddings' encoder is loaded.

        Raises:
            ValueError: see `align_images` and `caption`.
        """
        decoding, inputs = decoding or Decoding(), self._with_parts(self.align_images(images, batch_size), images)
        reranker = self.reranker(images, encoder) if decoding.clip_weight else None
        return self.caption(inputs, decoding, batch_size, progress, precision, reranker)
