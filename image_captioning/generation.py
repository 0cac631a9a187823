"""Decoding: how a trained captioner turns a prefix into words."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from inspect import signature
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
)

from common.checks import Count, NotNegative, Positive, Whole, checked_dataclass
from common.randomness import mixed_seed
from image_captioning.language_models import cache_argument, positions

# The options that each strategy has beside the common ones, with their defaults.
STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beam": {
        "beams": 5,
        "length_penalty": 1.0,
        "clip_weight": 0.0,
        "consensus_weight": 0.0,
        "consensus_captions": 300,
        "consensus_temperature": 0.1,
    },
    "nucleus": {"top_p": 0.9, "temperature": 1.0, "seed": 0},
}


@checked_dataclass("decoding.")
class Decoding:
    """How captions are decoded. None is the strategy's default; an option of another strategy is refused.

    Attributes:
        strategy: `greedy`, `beam`, or `nucleus` (sampling from the most probable tokens of total probability top_p,
            arXiv 1904.09751).
        max_new_tokens: longer captions are cut.
        repetition_penalty: above 1, tokens that the caption already has become less likely (arXiv 1909.05858).
        no_repeat_ngram: no n-gram of this length occurs twice in a caption; 0 allows all.
        beams: of beam search (5).
        length_penalty: beam search ranks hypotheses by log-probability / length ** length_penalty (1.0).
        clip_weight: in beam search, weight of the cosine between a hypothesis's embedding and that of the image, which
            is added to the rank at the end (0.0, which needs no encoder). See `reranking`.
        consensus_weight: in beam search, weight of a hypothesis's expected agreement with the training captions near
            the image, likewise (0.0, which needs no training captions). See `consensus`.
        consensus_captions: how many captions are near (300).
        consensus_temperature: of the softmax over their cosines (0.1).
        top_p: of nucleus sampling (0.9).
        temperature: of nucleus sampling (1.0).
        seed: of nucleus sampling (0). Row n of the input draws from (seed, n), whatever the batch size.
    """

    strategy: Literal["greedy", "beam", "nucleus"] = "greedy"
    max_new_tokens: Count = 40
    repetition_penalty: Positive = 1.0
    no_repeat_ngram: Whole = 0
    beams: Count | None = None
    length_penalty: float | None = None
    clip_weight: NotNegative | None = None
    consensus_weight: NotNegative | None = None
    consensus_captions: Count | None = None
    consensus_temperature: Positive | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    temperature: Positive | None = None
    seed: Whole | None = None

    def __post_init__(self):
        for strategy, defaults in STRATEGIES.items():
            for name, default in defaults.items():
                value = getattr(self, name)
                if strategy == self.strategy and value is None:
                    object.__setattr__(self, name, default)
                elif strategy != self.strategy and value is not None:
                    raise ValueError(
                        f"decoding.{name}={value} belongs to the strategy {strategy} and does nothing with "
                        f"{self.strategy}: remove it, or set decoding.strategy={strategy}"
                    )
        for name in ("clip_weight", "consensus_weight"):
            if (weight := getattr(self, name)) and self.beams == 1:
                raise ValueError(f"decoding.{name}={weight} needs decoding.beams > 1 to choose among")

    def recorded(self) -> dict[str, Any]:
        """The options that decide captions, as an evaluation records them."""
        idle = () if self.consensus_weight else ("consensus_weight", "consensus_captions", "consensus_temperature")
        return {name: value for name, value in vars(self).items() if value is not None and name not in idle}

    @property
    def reranks(self) -> bool:
        """Whether something else than the decoder has a say in the choice among beams."""
        return bool(self.clip_weight or self.consensus_weight)

    @property
    def label(self) -> str:
        """A name that no other options have, for folders: `greedy`, `beam5`, `beam3_length_penalty0.6`."""
        usual = type(self)(self.strategy)
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("strategy", "beams")}
        changed = (f"_{name}{value}" for name, value in values.items() if value != getattr(usual, name))
        return f"{self.strategy}{self.beams or ''}{''.join(text.removesuffix('.0') for text in changed)}"


@dataclass(frozen=True)
class EncodedImages:
    """What a decoder with cross-attention looks at while it writes.

    Attributes:
        states: (B, S, W), an encoder's output.
        mask: (B, S) bool, true where there is something to look at; None: everywhere.
    """

    states: Tensor
    mask: Tensor | None = None

    def __getitem__(self, rows: Tensor) -> EncodedImages:
        return EncodedImages(self.states[rows], None if self.mask is None else self.mask[rows])

    def arguments(self) -> dict[str, Tensor]:
        """By the names that transformers' decoders take them."""
        mask = {} if self.mask is None else {"encoder_attention_mask": self.mask.long()}
        return {"encoder_hidden_states": self.states, **mask}


class NucleusSampler(LogitsProcessor):
    """Samples one token per row from its nucleus and masks all others, so that greedy search selects it.

    One uniform number per row and step, drawn on the CPU from (seed, row), selects the token by the inverse
    distribution function. Unlike with transformers' sampling, captions depend neither on the batch size nor on the
    device's generator.
    """

    def __init__(self, decoding: Decoding, rows: range):
        self.top_p, self.temperature = decoding.top_p or 1.0, decoding.temperature or 1.0
        self.uniforms = torch.stack(
            [
                torch.rand(
                    decoding.max_new_tokens,
                    generator=torch.Generator().manual_seed(mixed_seed(decoding.seed or 0, row)),
                )
                for row in rows
            ]
        )  # (B, max_new_tokens)

    def keep(self, rows: Tensor) -> None:
        """Keep these rows of the batch only."""
        self.uniforms = self.uniforms[rows.cpu()]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        # With inputs_embeds, input_ids (B, t) holds the generated tokens only.
        probabilities, tokens = (scores.float() / self.temperature).softmax(-1).sort(descending=True)
        cumulative = probabilities.cumsum(-1)  # (B, V)
        # The nucleus: tokens before which less than top_p has accumulated; always the first.
        inside = cumulative - probabilities < self.top_p
        inside[:, 0] = True
        mass = (probabilities * inside).sum(-1, keepdim=True)
        threshold = self.uniforms[:, input_ids.shape[1], None].to(scores.device) * mass
        choice = ((cumulative <= threshold) & inside).sum(-1, keepdim=True)
        choice = torch.minimum(choice, inside.sum(-1, keepdim=True) - 1)  # rounding may pass the last one
        return torch.full_like(scores, -torch.inf).scatter(1, tokens.gather(1, choice), 0.0)


class BannedTokens(LogitsProcessor):
    """Masks tokens in place: transformers' `suppress_tokens` takes a sixth of the time on a CPU."""

    def __init__(self, tokens: list[int], device: torch.device):
        self.tokens = torch.tensor(tokens, dtype=torch.long, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.index_fill_(1, self.tokens, -torch.inf)


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prefix: Tensor,
    decoding: Decoding,
    end: int,
    banned: list[int],
    first_row: int = 0,
    encoded: EncodedImages | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Continue prefixes (B, P, W) to token ids (B, T), T <= max_new_tokens, padded with `end` after the end token.

    Args:
        model: a causal language model.
        end: the token that ends a caption.
        banned: tokens that are never written, such as the unknown token.
        first_row: the number of the batch's first row among all rows, for nucleus sampling.
        encoded: what a model with cross-attention looks at.
        mask: (B, P) bool, false where a prefix has nothing; None: nowhere.

    Raises:
        ValueError: prefix and max_new_tokens exceed the decoder's positions.
    """
    _check_positions(model, prefix, decoding)
    if (decoding.beams or 1) > 1:
        return beam_hypotheses(model, prefix, decoding, end, banned, 1, encoded, mask)[0]
    processors = LogitsProcessorList()
    if decoding.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty))
    if decoding.no_repeat_ngram:
        processors.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram))
    processors.append(BannedTokens(banned, prefix.device))
    if decoding.strategy == "nucleus":
        processors.append(NucleusSampler(decoding, range(first_row, first_row + len(prefix))))
    return _greedy_search(model, prefix, processors, decoding.max_new_tokens, end, encoded, mask)


def masked(model: PreTrainedModel, mask: Tensor, new: int | None = None) -> dict[str, Tensor]:
    """The arguments by which a model passes over gaps in its input, which take no positions.

    Args:
        mask: (B, S) bool, of all embeddings so far, false at the gaps.
        new: how many embeddings the model has not read yet; None: all.
    """
    arguments = {"attention_mask": mask.long()}
    if "position_ids" in signature(model.forward).parameters:  # others count positions by the mask
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)
        arguments["position_ids"] = positions if new is None else positions[:, -new:]
    return arguments


def _check_positions(model: PreTrainedModel, prefix: Tensor, decoding: Decoding) -> None:
    room = positions(model)
    if prefix.shape[1] + decoding.max_new_tokens > room:
        raise ValueError(
            f"decoding.max_new_tokens={decoding.max_new_tokens} is too many: the decoder has {room} positions, "
            f"of which the prefix takes {prefix.shape[1]}"
        )


def _greedy_search(
    model: PreTrainedModel,
    prefix: Tensor,
    processors: LogitsProcessorList,
    max_new_tokens: int,
    end: int,
    encoded: EncodedImages | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Greedy search with the same tokens as transformers', in less time.

    Captions that have ended leave the batch, which transformers computes whole until the last has ended. No logits are
    copied, which saves a fifth of the time on a CPU.
    """
    tokens = torch.full((len(prefix), max_new_tokens), end, device=prefix.device)  # (B, T)
    rows = torch.arange(len(prefix), device=prefix.device)  # of the unfinished captions
    cache, inputs = _new_cache(encoded), prefix
    name, embed = cache_argument(model), model.get_input_embeddings()
    last = {"logits_to_keep": 1} if "logits_to_keep" in signature(model.forward).parameters else {}
    for place in range(max_new_tokens):
        beside = {} if encoded is None else encoded.arguments()
        if mask is not None:
            beside |= masked(model, mask, inputs.shape[1])
        output = model(inputs_embeds=inputs, use_cache=True, **{name: cache}, **last, **beside)
        written: Any = tokens[rows, :place]
        scores = processors(written, output.logits[:, -1].float())
        chosen = scores.argmax(-1)
        tokens[rows, place] = chosen
        going = (chosen != end).nonzero()[:, 0]
        if not len(going):
            break
        if len(going) < len(rows):
            rows, chosen = rows[going], chosen[going]
            mask = None if mask is None else mask[going]
            cache.batch_select_indices(going)
            encoded = None if encoded is None else encoded[going]
            for processor in processors:
                if isinstance(processor, NucleusSampler):
                    processor.keep(going)
        inputs = embed(chosen)[:, None]
        mask = None if mask is None else F.pad(mask, (0, 1), value=True)
    return tokens[:, : place + 1]


class _ImageCache(EncoderDecoderCache):
    """Keys and values of the words and of the image's states. Beam search moves those of words alone: all beams of an
    image look at the same states. This saves a fifth of the time on a CPU."""

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        self.self_attention_cache.reorder_cache(beam_idx)


def _new_cache(encoded: EncodedImages | None) -> DynamicCache | EncoderDecoderCache:
    return DynamicCache() if encoded is None else _ImageCache(DynamicCache(), DynamicCache())


@torch.no_grad()
def beam_hypotheses(
    model: PreTrainedModel,
    prefix: Tensor,
    decoding: Decoding,
    end: int,
    banned: list[int],
    count: int,
    encoded: EncodedImages | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The `count` best hypotheses of each prefix (B, P, W), best first; arguments as of `generate`.

    Returns:
        Token ids (B x count, T) as from `generate`, and log-probability / length ** length_penalty (B, count).
    """
    _check_positions(model, prefix, decoding)
    config = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        num_beams=decoding.beams,
        num_return_sequences=count,
        length_penalty=decoding.length_penalty,
        repetition_penalty=decoding.repetition_penalty,
        no_repeat_ngram_size=decoding.no_repeat_ngram,
        eos_token_id=end,
        pad_token_id=end,
        use_cache=True,
        return_dict_in_generate=True,
        output_scores=count > 1,  # keeps each step's scores of the whole vocabulary
    )
    with warnings.catch_warnings():
        # Penalties depend on the caption only, not on the prefix, as we document.
        warnings.filterwarnings("ignore", message="Passing `.*` with `inputs_embeds`")
        beside = {} if encoded is None else {**encoded.arguments(), cache_argument(model): _new_cache(encoded)}
        there = torch.ones(prefix.shape[:2], dtype=torch.bool, device=prefix.device) if mask is None else mask
        output: Any = model.generate(  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
            inputs_embeds=prefix,
            **beside,
            attention_mask=there.long(),
            generation_config=config,
            logits_processor=LogitsProcessorList([BannedTokens(banned, prefix.device)]),
        )
    scores = output.sequences_scores.view(-1, count) if count > 1 else prefix.new_zeros(len(prefix), 1)
    return output.sequences, scores
