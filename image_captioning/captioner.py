"""Captioner: an alignment, a prefix mapper and GPT-2; from an embedding to a sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

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
from image_captioning.tokenizer import load_tokenizer

# What a GPT-2 is: the options of decoder.config, and what a checkpoint records of a pretrained one.
GPT2_OPTIONS = (
    "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function",
    "resid_pdrop", "embd_pdrop", "attn_pdrop", "layer_norm_epsilon", "initializer_range",
    "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn",
    "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings",
)  # fmt: skip
# Those of them that change what given weights compute.
GPT2_SHAPE = (
    "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function", "layer_norm_epsilon",
    "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings",
)  # fmt: skip
CHECKPOINT_FILES = ("config.json", "model.safetensors", "tokenizer.json")
MEND = (
    "run python -m image_captioning.train (with overwrite=true over a damaged one), or give checkpoint= a run folder, "
    "a name in pretrained/ or a Hub id"
)


class Captioner(nn.Module, PyTorchModelHubMixin):
    """GPT-2 behind a prefix mapper (ClipCap, arXiv 2111.09734), with the alignment whose output it was trained on.

    `captioner.tokenizer` is set after construction, and by loading, which sets `captioner.folder`, too.

    Args:
        dim: D of the embeddings.
        mapper: `{"kind": mlp | transformer | linear, ...}`, see `mappers`.
        gpt2: the whole GPT-2 configuration (`GPT2_OPTIONS`).
        alignment: entries of the alignment chain; its tensors come with the checkpoint.
        encoder: which encoder made the embeddings, so that new photos can be encoded alike.
        provenance: what it was trained on (data set, method, seed, uses_pairs), for results to repeat.
    """

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
        self.tokenizer: PreTrainedTokenizerFast | None = None
        self.folder: Path | None = None

    def train(self, mode: bool = True) -> Captioner:
        """As nn.Module's, but the alignment is never in training mode (it is part of the data), nor a frozen GPT-2."""
        super().train(mode)
        self.alignment.eval()
        if not self.gpt2.lm_head.weight.requires_grad:
            self.gpt2.eval()
        return self

    def start_from(self, trained: Captioner) -> None:
        """Take over the weights of a captioner of the same shape, whatever its alignment and its dropout.

        Raises ValueError when it has another decoder or mapper.
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
        """A captioner of the same mapper and decoder, which it shares, behind another alignment."""
        described = (alignment.options(), self.encoder_description, self.provenance)
        captioner = Captioner(self.dim, self.mapper_options, self.gpt2_options, *described)
        captioner.mapper, captioner.gpt2, captioner.alignment = self.mapper, self.gpt2, alignment
        captioner.tokenizer, captioner.folder = self.tokenizer, self.folder
        return captioner

    def freeze_decoder(self) -> None:
        """Train the mapper alone, ClipCap's second way: it needs a pretrained GPT-2 and a stronger mapper."""
        self.gpt2.requires_grad_(False)

    def checkpoint_gradients(self) -> None:
        """Keep one activation a GPT-2 layer and compute the others again in the backward pass: less memory, a third
        more time, the same gradients."""

        def contexts():
            return nullcontext(), _attention_on(self.device)  # the backward pass runs outside `logits`'s own

        enable = getattr(self.gpt2, "activation_checkpointing_enable", self.gpt2.gradient_checkpointing_enable)
        enable({"use_reentrant": False, "context_fn": contexts})  # the second name is that of transformers < 5

    @property
    def device(self) -> torch.device:
        return self.gpt2.device

    @property
    def image_encoder_description(self) -> Mapping:
        """Which encoder makes the image embeddings that it reads."""
        return self.alignment.inference_encoder or self.encoder_description

    def check_room(self, caption_tokens: int) -> None:
        """ValueError when prefix and caption, its end token included, need more positions than the decoder has."""
        prefix, positions = self.mapper.prefix_length, self.gpt2.config.n_positions
        if prefix + caption_tokens - 1 > positions:
            raise ValueError(
                f"The prefix of {prefix} tokens (option decoder.mapper.prefix_length) and the longest caption's "
                f"{caption_tokens} need more than the decoder's {positions} positions: lower decoder.max_tokens, with "
                "decoder.truncate=true, or take a decoder with more n_positions"
            )

    def banned_tokens(self) -> list[int]:
        """The tokens that no caption holds: special ones but the end, and what a pretrained vocabulary was padded with
        beyond the tokenizer's."""
        end, unknown = self.tokenizer.eos_token_id, self.tokenizer.unk_token_id
        # GPT-2's own tokenizer calls its end token the unknown one as well.
        banned = [token for token in self.tokenizer.all_special_ids if token != end]
        banned += [unknown] if unknown not in (None, end, *banned) else []
        return [*banned, *range(len(self.tokenizer), self.gpt2.config.vocab_size)]

    def align_images(self, images: Tensor, batch_size: int = 256) -> Tensor:
        """Raw image embeddings (N, D) -> the rows (N, D) that `caption` reads, where the embeddings are.

        Raises:
            ValueError: rows of another width than the captioner's, or that are not finite.
        """
        self._check_rows(images, self.alignment.inference_dim or self.dim)
        return in_parts(self.alignment.inference_side, images, self.device, batch_size)

    def align_texts(self, texts: Tensor, batch_size: int = 256) -> Tensor:
        """Raw text embeddings (N, D) -> aligned rows (N, D) without augmentation. Captions of them tell how much the
        decoder can say when there is no gap at all. Otherwise as `align_images`."""
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
        # Padding stands on the right, where causal attention never looks: no attention mask is needed.
        with _attention_on(prefix.device):
            inputs = torch.cat([prefix, words], dim=1)  # (B, P + T - 1, W)
            hidden = self.gpt2.transformer(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return self.gpt2.lm_head(hidden[:, prefix.shape[1] - 1 :])

    def forward(self, embeddings: Tensor, tokens: Tensor, mask: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Sum over each caption's tokens of -log p(token | embedding, tokens before), in nats: (B,).

        Args:
            embeddings: (B, D) aligned unit rows.
            tokens: (B, T) int64, each caption closed by the end token, padding on the right.
            mask: (B, T) bool, true at tokens, false at padding.
        """
        # Flat, for over (B, V, T) logits the same loss is five times as slow. The few places of padding (batches hold
        # captions of like lengths) cost less than picking out the others, which would make a GPU wait for their number.
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
            encoder: what embeds hypotheses for `decoding.clip_weight`; by default the embeddings' encoder is loaded.

        Raises:
            ValueError: see `align_images` and `caption`.
        """
        decoding, rows = decoding or Decoding(), self.align_images(images, batch_size)
        reranker = self.reranker(images, encoder) if decoding.clip_weight else None
        return self.caption(rows, decoding, batch_size, progress, precision, reranker)

    def reranker(self, images: Tensor, encoder: Encoder | None = None) -> Reranker:
        """What `caption` needs for `decoding.clip_weight` (see `caption_images`).

        Raises:
            ValueError: the images are of another space than the texts, or their encoder cannot be loaded.
        """
        if images.shape[1] != self.dim:
            raise ValueError(
                "decoding.clip_weight compares images with sentences in one space, which translated images do not come "
                "from: set it to 0"
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
            precision: autocast of mapper and decoder to fp32 (none), bf16 or fp16, which may be twice as fast; rounding
                then decides between words that are almost as probable. auto: what the device computes natively.
            reranker: of the rows' raw images, for `decoding.clip_weight`.

        Raises:
            ValueError: rows of another width than the decoder's, or that are not finite; a decoding that re-ranks
                without a reranker.
        """
        decoding, precision = decoding or Decoding(), choose_precision(precision, self.device)
        if decoding.clip_weight and reranker is None:
            raise ValueError(f"decoding.clip_weight={decoding.clip_weight} needs a reranker, of the images' embeddings")
        announce("Captioning", self.device, precision)
        self._check_rows(rows, self.dim)
        end, banned = self.tokenizer.eos_token_id, self.banned_tokens()
        captions: list[str] = []
        with (
            _evaluating(self),
            autocast(self.device, precision),
            tqdm(total=len(rows), unit="caption", disable=not progress) as bar,
        ):
            for start in range(0, len(rows), batch_size):
                part = rows[start : start + batch_size].to(self.device)
                prefix = self.mapper(part)
                if decoding.clip_weight:
                    ids, scores = beam_hypotheses(self.gpt2, prefix, decoding, end, banned, decoding.beams)
                    captions += reranker.choose(self._text(ids), scores, start, decoding.clip_weight)
                else:
                    captions += self._text(generate(self.gpt2, prefix, decoding, end, banned, first_row=start))
                bar.update(len(part))
        return captions

    @torch.no_grad()
    def log_likelihoods(self, aligned: Tensor, captions: list[str], batch_size: int = 256) -> tuple[Tensor, Tensor]:
        """log p(caption, end token | aligned row) in nats (N,), float64, and the number of tokens of each (N,).

        By teacher forcing on the captions' text, whatever decoding wrote it: without penalties, and with the end that
        a caption which was cut short did not reach. aligned: (N, D), as `align_images` gives them.
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
    def load(cls, checkpoint: str | Path, **download: str | bool | Path | None) -> Captioner:
        """A captioner from a run folder, a name in `pretrained/` or a Hub id: in evaluation mode, on the GPU if any.

        Args:
            download: for a Hub id, options of huggingface_hub.snapshot_download, such as revision.

        Raises FileNotFoundError when there is none, ValueError when it is damaged or its text memory has changed.
        """
        folders = [path for path in (Path(checkpoint), PRETRAINED / checkpoint) if path.is_dir()]
        # A folder of photos may have the name of a captioner in pretrained/.
        folder = next((path for path in folders if (path / "config.json").exists()), next(iter(folders), None))
        if folder is None:
            if str(checkpoint).count("/") != 1:
                shipped = ", ".join(sorted(path.parent.name for path in PRETRAINED.glob("*/model.safetensors")))
                raise FileNotFoundError(f"No captioner in {checkpoint}: {MEND}; in pretrained/ there is {shipped}")
            try:
                folder = find_hub_folder(checkpoint, **download)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"No captioner in {checkpoint}: {error}; or {MEND}") from error
        captioner = load_checkpoint(cls, folder, "captioner", "image_captioning")
        try:
            captioner.tokenizer = load_tokenizer(folder)
        except ValueError as error:
            raise ValueError(f"The captioner in {folder} cannot be loaded ({error}): {MEND}") from error
        captioner.alignment.restore()
        captioner.folder = folder
        return captioner.to(best_device())

    @classmethod
    def _from_pretrained(
        cls, *, model_id, revision, cache_dir, force_download, local_files_only, token, **values
    ) -> Captioner:
        # The mixin's own version would load non-strictly, without the tokenizer, and fall back on pickles.
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
    """On CPUs torch's fused attention is, for sequences this short, half of the whole step; the plain one is not."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


@contextmanager
def _evaluating(module: nn.Module):
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
