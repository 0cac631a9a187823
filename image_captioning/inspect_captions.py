"""What a captioner thinks of captions: the beams of an input, and how likely each word is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from common.device import autocast, choose_precision
from image_captioning.captioning_model import CaptioningModel
from image_captioning.data import CaptionTokens
from image_captioning.generation import Decoding, beam_hypotheses
from image_captioning.language_models import positions
from image_captioning.tokenizer import end_token


@dataclass(frozen=True)
class Beam:
    """A hypothesis of beam search.

    Attributes:
        score: log-probability / length ** length_penalty.
    """

    caption: str
    score: float


@dataclass(frozen=True)
class Word:
    """A word of a caption, with the white space and the punctuation that belong to its tokens.

    Attributes:
        log_probability: in nats, given the input and all words before it; the sum over its tokens.
    """

    text: str
    log_probability: float


@torch.no_grad()
def beams(captioner: CaptioningModel, inputs: Any, decoding: Decoding, precision: str = "fp32") -> list[list[Beam]]:
    """All `decoding.beams` hypotheses of each of N inputs, by the decoder alone, best first.

    Args:
        inputs: as of `captioner.caption`.
        precision: likewise.

    Raises:
        ValueError: fewer than two beams.
    """
    count = decoding.beams or 1
    if count < 2:
        raise ValueError(f"decoding.beams={count} must be at least 2 to be compared")
    chosen = choose_precision(precision, captioner.device)
    with autocast(captioner.device, chosen):
        context = captioner.context(inputs.to(captioner.device))
        ids, scores = beam_hypotheses(
            captioner.language_model, context.prefix, decoding, end_token(captioner.tokenizer),
            captioner.banned_tokens(), count, context.encoded, context.mask,
        )  # fmt: skip
    texts = captioner.texts_of(ids)
    ranked = [Beam(text, score) for text, score in zip(texts, scores.flatten().tolist(), strict=True)]
    return [ranked[start : start + count] for start in range(0, len(ranked), count)]


@torch.no_grad()
def word_log_probabilities(captioner: CaptioningModel, inputs: Any, captions: Sequence[str]) -> list[list[Word]]:
    """How likely each word of N captions is by teacher forcing, the end of the caption included as an empty word.

    A caption's sum is that of `captioner.log_likelihoods`.

    Args:
        inputs: N of them, as of `captioner.caption`.
    """
    room = positions(captioner.language_model) - captioner.prefix_length + 1
    tokens = CaptionTokens.encode(list(captions), captioner.tokenizer, room, truncate=True, allow_empty=True)
    ids, mask = tokens.to(captioner.device).batch(torch.arange(len(captions), device=captioner.device))
    logits = captioner.logits(inputs.to(captioner.device), ids).float()  # (N, T, V)
    likely = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]  # (N, T)
    lengths = mask.sum(-1).tolist()
    return [
        _words(captioner, row[:length].tolist(), values[:length].tolist())
        for row, values, length in zip(ids, likely, lengths, strict=True)
    ]


def _words(captioner: CaptioningModel, ids: list[int], log_probabilities: list[float]) -> list[Word]:
    """Tokens as words: a token begins a new one where the text so far, decoded, grows by white space before it."""
    end, words, before = end_token(captioner.tokenizer), list[Word](), ""
    for place, (token, value) in enumerate(zip(ids, log_probabilities, strict=True), 1):
        if token == end:
            words.append(Word("", value))
            continue
        text = str(captioner.tokenizer.decode(ids[:place]))
        piece = text[len(before) :] if text.startswith(before) else text.rpartition(" ")[2]
        before = text
        if words and not piece[:1].isspace():  # also after a token of white space alone
            last = words.pop()
            words.append(Word(last.text + piece, last.log_probability + value))
        else:
            words.append(Word(piece.strip(), value))
    return words
