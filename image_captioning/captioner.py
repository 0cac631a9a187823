"""Captioner: an alignment, a prefix mapper and GPT-2, which turn an embedding into a sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from alignment.chain import Alignment, in_parts
from embedding_space.encoders.base import EncodedImages, Encoder
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS
from image_captioning.captioning_model import CaptioningModel, Context
from image_captioning.consensus import CaptionMemory
from image_captioning.generation import Decoding
from image_captioning.mappers import make_mapper

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


class Captioner(CaptioningModel[Tensor]):
    """GPT-2 behind a prefix mapper (ClipCap, arXiv 2111.09734), with the alignment whose output it was trained on.

    Args:
        dim: D of the embeddings.
        mapper: `{"kind": mlp | transformer | linear, ...}`, see `mappers`.
        gpt2: the whole GPT-2 configuration (`GPT2_OPTIONS`).
        alignment: entries of the alignment chain; its tensors come with the checkpoint.
        encoder: the description of the embeddings' encoder, so that new photos can be encoded alike.
        provenance: what it was trained on (data set, method, seed, uses_pairs), for results to repeat.
    """

    def __init__(
        self, dim: int, mapper: dict, gpt2: dict, alignment: list, encoder: dict, provenance: dict | None = None
    ):
        super().__init__(dim, Alignment.from_options(alignment, STEPS), encoder, provenance)
        unknown = set(gpt2) - set(GPT2_OPTIONS)
        if unknown:
            raise ValueError(
                f"GPT-2 has no option {sorted(unknown)[0]!r} (decoder.config); known: {', '.join(GPT2_OPTIONS)}"
            )
        self.gpt2 = GPT2LMHeadModel(GPT2Config(**gpt2))
        self.mapper = make_mapper(dim, self.gpt2.config.n_embd, mapper)
        self.mapper_options, self.gpt2_options = dict(mapper), dict(gpt2)

    @property
    def language_model(self) -> GPT2LMHeadModel:
        return self.gpt2

    @property
    def prefix_length(self) -> int:
        return self.mapper.prefix_length

    def context(self, inputs: Tensor) -> Context:
        return Context(self.mapper(inputs))

    def image_inputs(self, aligned: Tensor, images: Tensor, store: EmbeddingStore, split: str, rows: Tensor) -> Tensor:
        return aligned

    def encoded_inputs(self, encoded: EncodedImages) -> Tensor:
        return self.align_images(encoded.rows)

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
        captioner = Captioner(self.dim, self.mapper_options, self.gpt2_options, *described)
        captioner.mapper, captioner.gpt2, captioner.alignment = self.mapper, self.gpt2, alignment
        captioner.tokenizer, captioner.folder = self.tokenizer, self.folder
        return captioner

    def align_texts(self, texts: Tensor, batch_size: int = 256) -> Tensor:
        """Raw text embeddings (N, D) -> aligned rows (N, D) without augmentation, as `align_images`.

        Their captions show what the decoder can do when there is no gap.
        """
        self._check_rows(texts, self.dim)
        return in_parts(self.alignment.clean_side, texts, self.device, batch_size)

    def caption_images(
        self,
        images: Tensor,
        decoding: Decoding | None = None,
        batch_size: int = 256,
        progress: bool = True,
        precision: str = "fp32",
        encoder: Encoder | None = None,
        memory: Callable[[], CaptionMemory] | None = None,
    ) -> list[str]:
        """Captions of raw image embeddings (N, D): `caption` of their aligned rows.

        Args:
            encoder, memory: for a `decoding` with weights of CLIP or of a consensus, see `reranker`.

        Raises:
            ValueError: see `align_images` and `caption`.
        """
        decoding, rows = decoding or Decoding(), self.align_images(images, batch_size)
        reranker = self.reranker(images, decoding, encoder, memory)
        return self.caption(rows, decoding, batch_size, progress, precision, reranker)
