"""Captioner: an alignment, a prefix mapper and GPT-2, which turn an embedding into a sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from alignment.chain import Alignment, in_parts
from common.checkpoint import load_checkpoint
from common.device import announce, autocast, best_device, choose_precision
from common.paths import PRETRAINED
from embedding_space.encoders.base import Encoder
from image_captioning.alignments import STEPS
from image_captioning.data import CaptionTokens, check_finite
from image_captioning.generation import Decoding, beam_hypotheses, generate
from image_captioning.hub import find_hub_folder
from image_captioning.mappers import make_mapper
from image_captioning.reranking import Reranker, load_reranking_encoder
from image_captioning.tokenizer import end_token, load_tokenizer

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
CHECKPOINT_FILES = ("config.json", "model.safetensors", "tokenizer.json")
HINT = (
    "run python -m image_captioning.train (with overwrite=true over a damaged one), or give checkpoint= a run folder, "
    "a name in pretrained/ or a Hub id"
)


class Captioner(nn.Module, PyTorchModelHubMixin):
    """GPT-2 behind a prefix mapper (ClipCap, arXiv 2111.09734), with the alignment whose output it was trained on.

    Args:
        dim: D of the embeddings.
        mapper: `{"kind": mlp | transformer | linear, ...}`, see `mappers`.
        gpt2: the whole GPT-2 configuration (`GPT2_OPTIONS`).
        alignment: entries of the alignment chain; its tensors come with the checkpoint.
        encoder: the description of the embeddings' encoder, so that new photos can be encoded alike.
        provenance: what it was trained on (data set, method, seed, uses_pairs), for results to repeat.

    Attributes:
        tokenizer: set after construction, or by `load`.
        folder: where `load` found it, else None.
    """

    tokenizer: PreTrainedTokenizerFast
    folder: Path | None = None

    def __init__(
        self, dim: int, mapper: dict, gpt2: dict, alignment: list, encoder: dict, provenance: dict | None = None
    ):
        super().__init__()
        unknown = set(gpt2) - set(GPT2_OPTIONS)
        if unknown:
            raise ValueError(
                f"GPT-2 has no option {sorted(unknown)[0]!r} (decoder.config); known: {', '.join(GPT2_OPTIONS)}"
            )
        self.dim, self.encoder_description, self.provenance = dim, encoder, provenance or {}
        self.alignment = Alignment.from_options(alignment, STEPS)
        self.gpt2 = GPT2LMHeadModel(GPT2Config(**gpt2))
        self.mapper = make_mapper(dim, self.gpt2.config.n_embd, mapper)
        self.mapper_options, self.gpt2_options = dict(mapper), dict(gpt2)

    def train(self, mode: bool = True) -> Captioner:
        """As nn.Module's, except that the alignment, which is part of the data, and a frozen GPT-2 never train."""
        super().train(mode)
        self.alignment.eval()
        if not self.gpt2.lm_head.weight.requires_grad:
            self.gpt2.eval()
        return self

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

    def checkpoint_gradients(self) -> None:
        """Keep one activation per GPT-2 layer and recompute the others in the backward pass.

        This saves memory and takes a third more time; the gradients are the same.
        """

        def contexts():
            return nullcontext(), _attention_on(self.device)  # the backward pass runs outside that of `logits`

        enable = getattr(self.gpt2, "activation_checkpointing_enable", self.gpt2.gradient_checkpointing_enable)
        enable({"use_reentrant": False, "context_fn": contexts})  # the second name is that of transformers < 5

    @property
    def device(self) -> torch.device:
        return self.gpt2.device

    @property
    def image_encoder_description(self) -> Mapping:
        """The description of the images' encoder."""
        return self.alignment.inference_encoder or self.encoder_description

    def check_room(self, caption_tokens: int) -> None:
        """Raise ValueError if prefix and caption, with its end token, need more positions than the decoder has."""
        prefix, positions = self.mapper.prefix_length, self.gpt2.config.n_positions
        if prefix + caption_tokens - 1 > positions:
            raise ValueError(
                f"The prefix of {prefix} tokens (option decoder.mapper.prefix_length) and the longest caption's "
                f"{caption_tokens} need more than the decoder's {positions} positions: lower decoder.max_tokens, with "
                "decoder.truncate=true, or choose a decoder with more n_positions"
            )

    def banned_tokens(self) -> list[int]:
        """Tokens that no caption may have: special ones except the end token, and the vocabulary's padding."""
        end, unknown = end_token(self.tokenizer), self.tokenizer.unk_token_id
        # GPT-2's tokenizer has one token for the end and for unknown words.
        banned = [token for token in self.tokenizer.all_special_ids if token != end]
        banned += [unknown] if isinstance(unknown, int) and unknown not in (end, *banned) else []
        return [*banned, *range(len(self.tokenizer), self.gpt2.config.vocab_size)]

    def align_images(self, images: Tensor, batch_size: int = 256) -> Tensor:
        """Raw image embeddings (N, D) -> aligned rows (N, D) for `caption`, on the same device.

        Raises:
            ValueError: rows of another width than the captioner's, or that are not finite.
        """
        self._check_rows(images, self.alignment.inference_dim or self.dim)
        return in_parts(self.alignment.inference_side, images, self.device, batch_size)

    def align_texts(self, texts: Tensor, batch_size: int = 256) -> Tensor:
        """Raw text embeddings (N, D) -> aligned rows (N, D) without augmentation, as `align_images`.

        Their captions show what the decoder can do when there is no gap.
        """
        self._check_rows(texts, self.dim)
        return in_parts(self.alignment.clean_side, texts, self.device, batch_size)

    def _check_rows(self, rows: Tensor, dim: int) -> None:
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise ValueError(
                f"This captioner reads embeddings of {dim} dimensions from the encoder "
                f"{self.encoder_description.get('name')}; got the shape {tuple(rows.shape)}"
            )
        check_finite(rows, "the embeddings to caption")

    def logits(self, embeddings: Tensor, tokens: Tensor) -> Tensor:
        """Teacher forcing: aligned rows (B, D), captions (B, T) -> logits (B, T, V); [:, t] predicts tokens[:, t]."""
        prefix = self.mapper(embeddings)  # (B, P, W)
        words = self.gpt2.transformer.wte(tokens[:, :-1]).to(prefix.dtype)  # (B, T - 1, W)
        # Padding is on the right, where causal attention never looks, so that no attention mask is needed.
        with _attention_on(prefix.device):
            inputs = torch.cat([prefix, words], dim=1)  # (B, P + T - 1, W)
            hidden = self.gpt2.transformer(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return self.gpt2.lm_head(hidden[:, prefix.shape[1] - 1 :])

    def forward(self, embeddings: Tensor, tokens: Tensor, mask: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """-log p(caption | embedding) in nats, summed over each caption's tokens: (B,).

        Args:
            embeddings: (B, D) aligned unit rows.
            tokens: (B, T) int64, each caption ended by the end token, with padding on the right.
            mask: (B, T) bool, true at tokens, false at padding.
        """
        # Flat, since the same loss is five times as slow over (B, V, T) logits. The little padding (batches have
        # captions of similar lengths) costs less than selecting the tokens: a GPU would wait for their number.
        logits = self.logits(embeddings, tokens).float().flatten(0, 1)  # (B x T, V)
        losses = F.cross_entropy(logits, tokens.flatten(), reduction="none", label_smoothing=label_smoothing)
        return (losses.view_as(tokens) * mask).sum(-1)

    def caption_images(
        self,
        images: Tensor,
        decoding: Decoding | None = None,
        batch_size: int = 256,
        progress: bool = True,
        precision: str = "fp32",
        encoder: Encoder | None = None,
    ) -> list[str]:
        """Captions of raw image embeddings (N, D): `caption` of their aligned rows.

        Args:
            encoder: embeds hypotheses for `decoding.clip_weight`; by default the embeddings' encoder is loaded.

        Raises:
            ValueError: see `align_images` and `caption`.
        """
        decoding, rows = decoding or Decoding(), self.align_images(images, batch_size)
        reranker = self.reranker(images, encoder) if decoding.clip_weight else None
        return self.caption(rows, decoding, batch_size, progress, precision, reranker)

    def reranker(self, images: Tensor, encoder: Encoder | None = None) -> Reranker:
        """The reranker of these images for `decoding.clip_weight` (see `caption_images`).

        Raises:
            ValueError: the images' space is not that of the texts, or their encoder cannot be loaded.
        """
        if images.shape[1] != self.dim:
            raise ValueError(
                "decoding.clip_weight compares images with sentences in one space, which translated images do not "
                "share: set it to 0"
            )
        return Reranker(images, encoder or load_reranking_encoder(self.encoder_description))

    @torch.no_grad()
    def caption(
        self,
        rows: Tensor,
        decoding: Decoding | None = None,
        batch_size: int = 256,
        progress: bool = True,
        precision: str = "fp32",
        reranker: Reranker | None = None,
    ) -> list[str]:
        """Captions of aligned rows (N, D).

        Args:
            precision: of mapper and decoder: fp32, bf16 or fp16, or auto for what the device computes natively. Half
                precision may be twice as fast; rounding then decides between words of similar probability.
            reranker: of the rows' raw images, for `decoding.clip_weight`.

        Raises:
            ValueError: rows of another width than the decoder's or that are not finite, or a decoding that needs a
                reranker without one.
        """
        decoding, precision = decoding or Decoding(), choose_precision(precision, self.device)
        if decoding.clip_weight and reranker is None:
            raise ValueError(f"decoding.clip_weight={decoding.clip_weight} needs a reranker, of the images' embeddings")
        announce("Captioning", self.device, precision)
        self._check_rows(rows, self.dim)
        end, banned = end_token(self.tokenizer), self.banned_tokens()
        captions: list[str] = []
        with (
            _evaluating(self),
            autocast(self.device, precision),
            tqdm(total=len(rows), unit="caption", disable=not progress) as bar,
        ):
            for start in range(0, len(rows), batch_size):
                part = rows[start : start + batch_size].to(self.device)
                prefix = self.mapper(part)
                if decoding.clip_weight and reranker is not None:
                    ids, scores = beam_hypotheses(self.gpt2, prefix, decoding, end, banned, decoding.beams or 1)
                    captions += reranker.choose(self._text(ids), scores, start, decoding.clip_weight)
                else:
                    captions += self._text(generate(self.gpt2, prefix, decoding, end, banned, first_row=start))
                bar.update(len(part))
        return captions

    @torch.no_grad()
    def log_likelihoods(self, aligned: Tensor, captions: list[str], batch_size: int = 256) -> tuple[Tensor, Tensor]:
        """The log-likelihood of captions and their end tokens by teacher forcing, however they were decoded.

        It has no penalties, and it includes the end token of captions that were cut short.

        Args:
            aligned: (N, D) rows of `align_images`.
            captions: N of them.

        Returns:
            log p(caption, end token | aligned row) in nats (N,), float64, and the number of tokens of each (N,).
        """
        room = self.gpt2.config.n_positions - self.mapper.prefix_length + 1
        tokens = CaptionTokens.encode(captions, self.tokenizer, room, truncate=True, allow_empty=True).to(self.device)
        sums = torch.empty(len(captions), dtype=torch.float64)
        with _evaluating(self):
            for rows in tokens.lengths.argsort().split(batch_size):  # batches of like length: little padding
                losses = self(aligned[rows.to(aligned.device)].to(self.device), *tokens.batch(rows))
                sums[rows.cpu()] = -losses.cpu().double()  # mps has no float64
        return sums, tokens.lengths.cpu()

    def _text(self, ids: Tensor) -> list[str]:
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)

    @classmethod
    def load(cls, checkpoint: str | Path, **download: Any) -> Captioner:
        """A captioner from a run folder, a name in `pretrained/` or a Hub id, in evaluation mode, on the GPU if any.

        Args:
            download: for a Hub id, options of huggingface_hub.snapshot_download, such as revision.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, or its text memory has changed.
        """
        folders = [path for path in (Path(checkpoint), PRETRAINED / checkpoint) if path.is_dir()]
        # A folder of photos may share its name with a captioner in pretrained/.
        folder = next((path for path in folders if (path / "config.json").exists()), next(iter(folders), None))
        if folder is None:
            if str(checkpoint).count("/") != 1:
                shipped = ", ".join(sorted(path.parent.name for path in PRETRAINED.glob("*/model.safetensors")))
                raise FileNotFoundError(f"No captioner in {checkpoint}: {HINT}; in pretrained/ there is {shipped}")
            try:
                folder = find_hub_folder(checkpoint, **download)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"No captioner in {checkpoint}: {error}; or {HINT}") from error
        captioner = load_checkpoint(cls, folder, "captioner", "image_captioning")
        try:
            captioner.tokenizer = load_tokenizer(folder)
        except ValueError as error:
            raise ValueError(f"The captioner in {folder} cannot be loaded ({error}): {HINT}") from error
        captioner.alignment.restore()
        captioner.folder = folder
        return captioner.to(best_device())

    @classmethod
    def _from_pretrained(
        cls, *, model_id, revision, cache_dir, force_download, local_files_only, token, **values
    ) -> Captioner:
        # The mixin's version would load non-strictly, without the tokenizer, and fall back on pickles.
        return cls.load(
            model_id, revision=revision, cache_dir=cache_dir, force_download=force_download,
            local_files_only=local_files_only, token=token,
        )  # fmt: skip


def checkpoint_sha256(folder: Path) -> str:
    """Identity of the captioner in `folder`: of its options, weights and tokenizer."""
    digest = hashlib.sha256()
    for name in CHECKPOINT_FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _attention_on(device: torch.device) -> AbstractContextManager:
    """Plain attention on CPUs, where torch's fused one takes half of the step for sequences this short."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


@contextmanager
def _evaluating(module: nn.Module):
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
