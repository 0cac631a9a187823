"""What captioning models share: a causal language model writes sentences from aligned inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from alignment.chain import Alignment, in_parts
from common.checkpoint import load_checkpoint
from common.device import announce, autocast, best_device, choose_precision
from embedding_space.encoders.base import EncodedImages as EncodedFiles
from embedding_space.encoders.base import Encoder
from embedding_space.encoders.carried import placed
from embedding_space.store import EmbeddingStore
from evaluation.captions.patch_selection import PatchSelection
from image_captioning.checkpoints import HINT, find_checkpoint
from image_captioning.consensus import ConsensusMemory
from image_captioning.data import CaptionTokens, check_finite
from image_captioning.generation import Decoding, EncodedImages, beam_hypotheses, generate, masked
from image_captioning.language_models import positions
from image_captioning.provenance import estimated_from_pairs
from image_captioning.reranking import Reranker, make_reranker
from image_captioning.tokenizer import end_token, load_tokenizer


class Rows(Protocol):
    """N inputs: a tensor, or anything else that is indexed and moved like one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...

    def to(self, device: torch.device, /) -> Any: ...


Inputs = TypeVar("Inputs", bound=Rows)


@dataclass(frozen=True)
class Context:
    """What the language model reads: B prefixes (B, P, W), and what it looks at by cross-attention, if it does.

    mask: (B, P) bool, false where a prefix has nothing; None: nowhere.
    """

    prefix: Tensor
    encoded: EncodedImages | None = None
    mask: Tensor | None = None


class CaptioningModel(nn.Module, PyTorchModelHubMixin, Generic[Inputs]):
    """A causal language model that writes captions from inputs behind an alignment.

    A subclass has `language_model`, `dim`, `prefix_length` and `context`; inputs are tensors of aligned rows (N, D)
    unless it says otherwise.

    Args:
        dim: D of the embeddings.
        alignment: the chain whose output it reads.
        encoder: the description of the embeddings' encoder, so that new photos can be encoded alike.
        provenance: what it was trained on (data set, method, seed, uses_pairs), for results to repeat.

    Attributes:
        tokenizer: set after construction, or by `load`.
        folder: where `load` found it, else None.
        reads_patches: whether its inputs need patch tokens beside the image rows.
        searches_images: whether it searches words or captions with the images' own rows.
        inference_changes: what was changed since it was loaded, for evaluations to record.
    """

    tokenizer: PreTrainedTokenizerFast
    folder: Path | None = None
    reads_patches = False
    searches_images = False

    def __init__(self, dim: int, alignment: Alignment, encoder: Mapping, provenance: Mapping | None):
        super().__init__()
        self.dim, self.alignment = dim, alignment
        self.encoder_description, self.provenance = dict(encoder), dict(provenance or {})
        self.inference_changes: dict[str, str] = {}

    @property
    def language_model(self) -> Any:
        """The decoder: one of transformers' models for causal language modeling."""
        raise NotImplementedError

    @property
    def prefix_length(self) -> int:
        """P, the positions of the language model that come before the caption."""
        raise NotImplementedError

    def context(self, inputs: Inputs) -> Context:
        """What the language model reads for B inputs."""
        raise NotImplementedError

    def image_inputs(self, aligned: Tensor, images: Tensor, store: EmbeddingStore, split: str, rows: Tensor) -> Inputs:
        """The inputs for images of a store.

        Args:
            aligned: (N, D) their rows after the alignment.
            images: (N, D) their raw rows.
            rows: (N,) int64, which images of `split` they are.
        """
        raise NotImplementedError

    def train(self, mode: bool = True):
        """As nn.Module's, except that the alignment, which is part of the data, and a frozen decoder never train."""
        super().train(mode)
        self.alignment.eval()
        if not any(parameter.requires_grad for parameter in self.language_model.parameters()):
            self.language_model.eval()
        return self

    def checkpoint_gradients(self) -> None:
        """Keep one activation per layer of the language model and recompute the others in the backward pass.

        This saves memory and takes a third more time; the gradients are the same.
        """

        def contexts():
            return nullcontext(), attention_on(self.device)  # the backward pass runs outside that of `logits`

        model = self.language_model
        enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
        enable({"use_reentrant": False, "context_fn": contexts})  # the second name is that of transformers < 5

    @property
    def device(self) -> torch.device:
        return self.language_model.device

    @property
    def image_encoder_description(self) -> Mapping:
        """The description of the images' encoder."""
        return self.alignment.inference_encoder or self.encoder_description

    def check_room(self, caption_tokens: int) -> None:
        """Raise ValueError if prefix and caption, with its end token, need more positions than the decoder has."""
        room = positions(self.language_model)
        if self.prefix_length + caption_tokens - 1 > room:
            raise ValueError(
                f"The prefix of {self.prefix_length} tokens (option decoder.mapper.prefix_length, and "
                f"parts.prompt.words with a prompt) and the longest caption's {caption_tokens} need more than the "
                f"decoder's {room} positions: lower "
                "decoder.max_tokens, with decoder.truncate=true, or choose a decoder with more positions"
            )

    def banned_tokens(self) -> list[int]:
        """Tokens that no caption may have: special ones except the end token, such as those that mark the turns of a
        chat, and the vocabulary's padding."""
        end = end_token(self.tokenizer)  # GPT-2's tokenizer has one token for the end and for unknown words
        unknown: Any = self.tokenizer.unk_token_id
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder, unknown}
        words: Any = self.language_model.get_output_embeddings()
        return [*sorted(special - {end, None}), *range(len(self.tokenizer), len(words.weight))]

    def align_images(self, images: Tensor, batch_size: int = 256) -> Tensor:
        """Raw image embeddings (N, D) -> aligned rows (N, D), on the same device.

        Raises:
            ValueError: rows of another width than the model's, or that are not finite.
        """
        self._check_rows(images, self.alignment.inference_dim or self.dim)
        return in_parts(self.alignment.inference_side, images, self.device, batch_size)

    def align_texts(self, texts: Tensor, batch_size: int = 256) -> Any:
        """Raw text embeddings (N, D) -> the inputs that they would be without a gap, as `align_images`.

        Raises:
            ValueError: the model reads more of an image than its row, which texts do not have.
        """
        raise ValueError(
            f"caption_from=texts: this captioner ({type(self).__name__}) reads patches of images, which texts lack"
        )

    def encoded_inputs(self, encoded: EncodedFiles) -> Any:
        """The inputs for pictures that were just encoded; with patch tokens if `reads_patches`."""
        raise NotImplementedError

    def patch_selections(self, inputs: Inputs) -> list[PatchSelection] | None:
        """Which patches of each input give way to words; None for a model that gives none."""
        return None

    def _check_rows(self, rows: Tensor, dim: int) -> None:
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise ValueError(
                f"This captioner reads embeddings of {dim} dimensions from the encoder "
                f"{self.encoder_description.get('name')}; got the shape {tuple(rows.shape)}"
            )
        check_finite(rows, "the embeddings to caption")

    def _check_inputs(self, inputs: Inputs) -> None:
        """Raise ValueError for inputs of another shape than the model's, or that are not finite."""
        if isinstance(inputs, Tensor):
            self._check_rows(inputs, self.dim)

    def logits(self, inputs: Inputs, tokens: Tensor) -> Tensor:
        """Teacher forcing: B inputs, captions (B, T) -> logits (B, T, V); [:, t] predicts tokens[:, t]."""
        arguments = self._arguments(inputs, tokens)
        with attention_on(self.device):
            # By the model itself: some families scale or cap what their output layer gives.
            return self.language_model(**arguments, logits_to_keep=tokens.shape[1]).logits

    def _hidden(self, inputs: Inputs, tokens: Tensor) -> Tensor:
        """(B, T, W) the language model's last hidden states; [:, t] predicts tokens[:, t]."""
        arguments = self._arguments(inputs, tokens)
        with attention_on(self.device):
            return self.language_model.base_model(**arguments).last_hidden_state[:, -tokens.shape[1] :]

    def _arguments(self, inputs: Inputs, tokens: Tensor) -> dict[str, Any]:
        """What the language model takes for B inputs and captions (B, T): P + T - 1 embeddings each."""
        context = self.context(inputs)
        prefix = context.prefix  # (B, P, W)
        words = self.language_model.get_input_embeddings()(tokens[:, :-1]).to(prefix.dtype)  # (B, T - 1, W)
        beside = {} if context.encoded is None else context.encoded.arguments()
        if context.mask is not None:  # padding on the right needs none, since causal attention never looks there
            beside |= masked(self.language_model, F.pad(context.mask, (0, words.shape[1]), value=True))
        return {"inputs_embeds": torch.cat([prefix, words], dim=1), "use_cache": False, **beside}

    def forward(self, inputs: Inputs, tokens: Tensor, mask: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """-log p(caption | input) in nats, summed over each caption's tokens: (B,).

        Args:
            inputs: B of them, such as aligned unit rows (B, D).
            tokens: (B, T) int64, each caption ended by the end token, with padding on the right.
            mask: (B, T) bool, true at tokens, false at padding.
        """
        # Flat, since the same loss is five times as slow over (B, V, T) logits. The little padding (batches have
        # captions of similar lengths) costs less than selecting the tokens: a GPU would wait for their number.
        logits = self.logits(inputs, tokens).float().flatten(0, 1)  # (B x T, V)
        losses = F.cross_entropy(logits, tokens.flatten(), reduction="none", label_smoothing=label_smoothing)
        return (losses.view_as(tokens) * mask).sum(-1)

    def reranker(
        self,
        images: Tensor,
        decoding: Decoding,
        encoder: Encoder | None = None,
        memory: Callable[[], ConsensusMemory] | None = None,
        chain: Alignment | None = None,
    ) -> Reranker | None:
        """What chooses among the beams of images that go through `chain` (None: the alignment); see `make_reranker`."""
        own_space = images.shape[1] == self.dim and (chain or self.alignment).reads_rows_of(self.encoder_description)
        return make_reranker(own_space, self.encoder_description, images, decoding, encoder, memory)

    @torch.no_grad()
    def caption(
        self,
        inputs: Inputs,
        decoding: Decoding | None = None,
        batch_size: int = 256,
        progress: bool = True,
        precision: str = "fp32",
        reranker: Reranker | None = None,
        first_row: int = 0,
    ) -> list[str]:
        """Captions of N inputs, such as aligned rows (N, D).

        Args:
            precision: of the model: fp32, bf16 or fp16, or auto for what the device computes natively. Half precision
                may be twice as fast; rounding then decides between words of similar probability.
            reranker: of the rows' raw images, for a `decoding` that needs one (`reranker`).
            first_row: the number of the first input among all that are captioned, for nucleus sampling.

        Raises:
            ValueError: inputs of another shape than the model's or that are not finite, or a decoding that needs a
                reranker without one.
        """
        decoding, precision = decoding or Decoding(), choose_precision(precision, self.device)
        if decoding.reranks and reranker is None:
            raise ValueError(f"decoding={decoding.label} needs a reranker, of the images' embeddings")
        announce("Captioning", self.device, precision)
        self._check_inputs(inputs)
        end, banned = end_token(self.tokenizer), self.banned_tokens()
        captions: list[str] = []
        with (
            _evaluating(self),
            autocast(self.device, precision),
            tqdm(total=len(inputs), unit="caption", disable=not progress) as bar,
        ):
            for start in range(0, len(inputs), batch_size):
                part = inputs[start : start + batch_size].to(self.device)
                context = self.context(part)
                limits, beside = (context.prefix, decoding, end, banned), (context.encoded, context.mask)
                if decoding.reranks and reranker is not None:
                    beams = decoding.beams or 1
                    ids, scores = beam_hypotheses(self.language_model, *limits, beams, *beside)
                    captions += reranker.choose(self.texts_of(ids), scores, start)
                else:
                    captions += self.texts_of(generate(self.language_model, *limits, first_row + start, *beside))
                bar.update(len(part))
        return captions

    @torch.no_grad()
    def log_likelihoods(self, inputs: Inputs, captions: list[str], batch_size: int = 256) -> tuple[Tensor, Tensor]:
        """The log-likelihood of captions and their end tokens by teacher forcing, however they were decoded.

        It has no penalties, and it includes the end token of captions that were cut short.

        Args:
            inputs: N of them, such as rows (N, D) of `align_images`.
            captions: N of them.

        Returns:
            log p(caption, end token | input) in nats (N,), float64, and the number of tokens of each (N,).
        """
        room = positions(self.language_model) - self.prefix_length + 1
        tokens = CaptionTokens.encode(captions, self.tokenizer, room, truncate=True, allow_empty=True).to(self.device)
        sums = torch.empty(len(captions), dtype=torch.float64)
        with _evaluating(self):
            for rows in tokens.lengths.argsort().split(batch_size):  # batches of like length: little padding
                losses = self(inputs[rows.cpu()].to(self.device), *tokens.batch(rows))
                sums[rows.cpu()] = -losses.cpu().double()  # mps has no float64
        return sums, tokens.lengths.cpu()

    def texts_of(self, ids: Tensor) -> list[str]:
        """Sentences of token ids (B, T), without special tokens."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def restore(self) -> None:
        """Bring what a checkpoint refers to and does not hold. Raises ValueError where it is missing or has changed."""
        self.alignment.restore()

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        self.tokenizer.save_pretrained(save_directory)

    @classmethod
    def from_json(cls, **options: Any):
        """A model with random weights from the values of a checkpoint's config.json, also of earlier versions."""
        return cls(**options)

    @classmethod
    def load(cls, checkpoint: str | Path, **download: Any):
        """A model from a run folder, a name in `pretrained/` or a Hub id, in evaluation mode, on the GPU if any.

        Args:
            download: for a Hub id, options of huggingface_hub.snapshot_download, such as revision.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, or its text memory has changed.
        """
        folder = find_checkpoint(checkpoint, **download)
        model = load_checkpoint(cls.from_json, folder, "captioner", cls.__module__.partition(".")[0])
        try:
            model.tokenizer = load_tokenizer(folder)
        except ValueError as error:
            raise ValueError(f"The captioner in {folder} cannot be loaded ({error}): {HINT}") from error
        model.restore()
        model.alignment.estimated_from_pairs = estimated_from_pairs(model.provenance)
        model.folder, model.encoder_description = folder, placed(model.encoder_description, folder)
        model.alignment.move_encoders(partial(placed, folder=folder))
        return model.to(best_device())

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ):
        """`load`, under the name and with the options that other libraries have."""
        # The mixin's version would load non-strictly, without the tokenizer, and fall back on pickles.
        return cls.load(
            pretrained_model_name_or_path, revision=revision, cache_dir=cache_dir, force_download=force_download,
            local_files_only=local_files_only, token=token,
        )  # fmt: skip


def attention_on(device: torch.device) -> AbstractContextManager:
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
