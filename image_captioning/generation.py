"""Decoding: how a trained captioner turns a prefix into words. Every option changes something, or is refused."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    GPT2LMHeadModel,
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from common.randomness import mixed_seed

# What each strategy takes beyond the common options, and its defaults.
STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beam": {"beams": 5, "length_penalty": 1.0, "clip_weight": 0.0},
    "nucleus": {"top_p": 0.9, "temperature": 1.0, "seed": 0},
}


@dataclass(frozen=True)
class Decoding:
    """Options `decoding.*`. An option of another strategy than the chosen one is a ValueError; None is the default.

    strategy: greedy; beam; or nucleus (sampling from the most probable tokens of mass top_p, arXiv 1904.09751).
    max_new_tokens: a caption that has not ended by then is cut.
    repetition_penalty: > 1 makes tokens that the caption already holds less likely (arXiv 1909.05858).
    no_repeat_ngram: no n-gram of this length stands twice in a caption; 0 allows all.
    beams, length_penalty: beam only; hypotheses rank by log-probability / length ** length_penalty (default 5, 1.0).
    clip_weight: beam only; at the end they rank by that and by clip_weight times the cosine between their own embedding
        and the one to caption (default 0.0: no encoder is needed). See `reranking`.
    top_p, temperature, seed: nucleus only (default 0.9, 1.0, 0). Row n of the input draws from (seed, n), whatever
        the batch size.
    """

    strategy: str = "greedy"
    max_new_tokens: int = 40
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    beams: int | None = None
    length_penalty: float | None = None
    clip_weight: float | None = None
    top_p: float | None = None
    temperature: float | None = None
    seed: int | None = None

    def __post_init__(self):
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"Unknown strategy {self.strategy!r} (option decoding.strategy); known: {', '.join(STRATEGIES)}"
            )
        own = STRATEGIES[self.strategy]
        for strategy, options in STRATEGIES.items():
            for name, default in options.items():
                given = getattr(self, name)
                if name in own:
                    object.__setattr__(self, name, default if given is None else given)
                elif given is not None:
                    raise ValueError(
                        f"decoding.{name}={given} belongs to the strategy {strategy} and does nothing with "
                        f"{self.strategy}: remove it, or set decoding.strategy={strategy}"
                    )
        self._require("max_new_tokens", self.max_new_tokens >= 1, "must be at least 1")
        self._require("repetition_penalty", self.repetition_penalty > 0, "must be positive")
        self._require("no_repeat_ngram", self.no_repeat_ngram >= 0, "must not be negative")
        self._require("beams", self.beams is None or self.beams >= 1, "must be at least 1")
        self._require("clip_weight", self.clip_weight is None or self.clip_weight >= 0, "must not be negative")
        self._require("clip_weight", not self.clip_weight or self.beams > 1, "needs decoding.beams > 1 to choose among")
        self._require("top_p", self.top_p is None or 0 < self.top_p <= 1, "must lie in (0, 1]")
        self._require("temperature", self.temperature is None or self.temperature > 0, "must be positive")
        is_seed = self.seed is None or (type(self.seed) is int and self.seed >= 0)
        self._require("seed", is_seed, "must be a whole number, at least 0")

    @property
    def label(self) -> str:
        """A name that no other options have, for folders: `greedy`, `beam5`, `beam3_length_penalty0.6`."""
        usual = type(self)(self.strategy)
        others = [f.name for f in fields(self) if f.name not in ("strategy", "beams")]
        changed = [f"_{name}{getattr(self, name)}" for name in others if getattr(self, name) != getattr(usual, name)]
        return f"{self.strategy}{self.beams or ''}{''.join(changed)}"

    def _require(self, name: str, fine: bool, rule: str) -> None:
        if not fine:
            raise ValueError(f"decoding.{name}={getattr(self, name)} {rule}")


class NucleusSampler(LogitsProcessor):
    """Draws each row's next token from its nucleus and leaves it alone possible, so that greedy search takes it.

    One uniform number a row and step, drawn on the CPU from (seed, row), chooses by inverse distribution function:
    captions do not depend on the batch size or the device's generator, as they would with transformers' sampling.
    """

    def __init__(self, decoding: Decoding, rows: range):
        self.decoding = decoding
        self.uniforms = torch.stack(
            [
                torch.rand(
                    decoding.max_new_tokens,
                    generator=torch.Generator().manual_seed(mixed_seed(decoding.seed, row)),
                )
                for row in rows
            ]
        )  # (B, max_new_tokens)

    def keep(self, rows: Tensor) -> None:
        """Go on with these of the batch's rows alone."""
        self.uniforms = self.uniforms[rows.cpu()]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        # With inputs_embeds, input_ids (B, t) holds the generated tokens only.
        probabilities, tokens = (scores.float() / self.decoding.temperature).softmax(-1).sort(descending=True)
        cumulative = probabilities.cumsum(-1)  # (B, V)
        # The nucleus: tokens before which less than top_p has accumulated; always the first.
        inside = cumulative - probabilities < self.decoding.top_p
        inside[:, 0] = True
        mass = (probabilities * inside).sum(-1, keepdim=True)
        threshold = self.uniforms[:, input_ids.shape[1], None].to(scores.device) * mass
        choice = ((cumulative <= threshold) & inside).sum(-1, keepdim=True)
        choice = torch.minimum(choice, inside.sum(-1, keepdim=True) - 1)  # rounding may pass the last one
        return torch.full_like(scores, -torch.inf).scatter(1, tokens.gather(1, choice), 0.0)


class BannedTokens(LogitsProcessor):
    """Some tokens are never written; in place, for transformers' `suppress_tokens` takes a sixth of a CPU's time."""

    def __init__(self, tokens: list[int], device: torch.device):
        self.tokens = torch.tensor(tokens, dtype=torch.long, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.index_fill_(1, self.tokens, -torch.inf)


@torch.no_grad()
def generate(
    gpt2: GPT2LMHeadModel, prefix: Tensor, decoding: Decoding, end: int, banned: list[int], first_row: int = 0
) -> Tensor:
    """Continue prefixes (B, P, W) to token ids (B, T), T <= max_new_tokens, padded with `end` after the end token.

    Args:
        end: the token that ends a caption.
        banned: tokens that are never written, such as the unknown token.
        first_row: the number of the batch's first row among all rows, for nucleus sampling.

    Raises ValueError when prefix and max_new_tokens exceed the decoder's positions.
    """
    _check_positions(gpt2, prefix, decoding)
    if decoding.strategy == "beam" and decoding.beams > 1:
        return beam_hypotheses(gpt2, prefix, decoding, end, banned, count=1)[0]
    processors = LogitsProcessorList()
    if decoding.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty))
    if decoding.no_repeat_ngram:
        processors.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram))
    processors.append(BannedTokens(banned, prefix.device))
    if decoding.strategy == "nucleus":
        processors.append(NucleusSampler(decoding, range(first_row, first_row + len(prefix))))
    return _greedy_search(gpt2, prefix, processors, decoding.max_new_tokens, end)


def _check_positions(gpt2: GPT2LMHeadModel, prefix: Tensor, decoding: Decoding) -> None:
    positions = gpt2.config.n_positions
    if prefix.shape[1] + decoding.max_new_tokens > positions:
        raise ValueError(
            f"decoding.max_new_tokens={decoding.max_new_tokens} is too many: the decoder has {positions} positions, "
            f"of which the prefix takes {prefix.shape[1]}"
        )


def _greedy_search(
    gpt2: GPT2LMHeadModel, prefix: Tensor, processors: LogitsProcessorList, max_new_tokens: int, end: int
) -> Tensor:
    """What transformers' own greedy search gives, token for token. Here captions that have ended leave the batch, which
    that one computes whole until the last has ended, and no logits are copied, a fifth of its time on a CPU."""
    tokens = torch.full((len(prefix), max_new_tokens), end, device=prefix.device)  # (B, T)
    rows = torch.arange(len(prefix), device=prefix.device)  # of the captions that go on
    cache, inputs = DynamicCache(), prefix
    name = _cache_argument(gpt2)
    for place in range(max_new_tokens):
        hidden = gpt2.transformer(inputs_embeds=inputs, use_cache=True, **{name: cache}).last_hidden_state
        scores = processors(tokens[rows, :place], gpt2.lm_head(hidden[:, -1]).float())
        chosen = scores.argmax(-1)
        tokens[rows, place] = chosen
        going = (chosen != end).nonzero()[:, 0]
        if not len(going):
            break
        if len(going) < len(rows):
            rows, chosen = rows[going], chosen[going]
            cache.batch_select_indices(going)
            for processor in processors:
                if isinstance(processor, NucleusSampler):
                    processor.keep(going)
        inputs = gpt2.transformer.wte(chosen)[:, None]
    return tokens[:, : place + 1]


def _cache_argument(gpt2: GPT2LMHeadModel) -> str:
    """What this transformers calls the cache: `past_key_values` in older ones, `cache` since."""
    return "cache" if "cache" in signature(gpt2.transformer.forward).parameters else "past_key_values"


@torch.no_grad()
def beam_hypotheses(
    gpt2: GPT2LMHeadModel, prefix: Tensor, decoding: Decoding, end: int, banned: list[int], count: int
) -> tuple[Tensor, Tensor]:
    """The `count` best hypotheses of each prefix (B, P, W), best first: token ids (B x count, T) as from `generate`,
    and log-probability / length ** length_penalty (B, count)."""
    _check_positions(gpt2, prefix, decoding)
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
        output_scores=count > 1,  # transformers keeps a step's scores of the whole vocabulary then
    )
    with warnings.catch_warnings():
        # That penalties look at the caption alone, not at the prefix, is what we document.
        warnings.filterwarnings("ignore", message="Passing `.*` with `inputs_embeds`")
        found = gpt2.generate(
            inputs_embeds=prefix,
            attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([BannedTokens(banned, prefix.device)]),
        )
    scores = found.sequences_scores.view(-1, count) if count > 1 else prefix.new_zeros(len(prefix), 1)
    return found.sequences, scores
