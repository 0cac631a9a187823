"""Pairs turned left to right: "to the left" becomes "to the right", in the same batch.

Few pairs of a batch differ in their direction alone, so that the loss hardly asks for it. A pair's mirrored twin
differs in nothing else: it is the hardest negative there is. NegCLIP (arXiv 2210.01936) has negatives of changed
captions; here the picture is changed with its caption.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive.caption_tokens import caption_tokens
from contrastive.picture_pairs import PicturePairs
from training.batches import StepRandom


class MirroredPairs(PicturePairs):
    """Picture pairs, each turned left to right with chance 1/2; those whose caption says a direction come as twins.

    The twins take the places of other pairs of the batch, which keeps its size.

    Args:
        words: the two words that change places in the captions of turned pictures.
        of: arguments of `PicturePairs`, by name.

    Attributes:
        exchanged: (M, T) int64, tokens of the captions with the words exchanged.
        directed: (M,) bool, whether a caption has one of the words.

    Raises:
        ValueError: bad words.
    """

    def __init__(self, words: Sequence[str], **of: Any):
        super().__init__(**of)
        self.mirror = of["read"].mirror
        captions = exchange_words(self.captions, words)
        self.exchanged = caption_tokens(of["tokenizer"], captions, of["context_length"], of["split"]).to(of["device"])
        self.directed = (self.exchanged != self.tokens).any(dim=1)

    def draw(self, pictures: Tensor, random: StepRandom) -> tuple[Tensor, Tensor]:
        pixels, captions = self.draw_pairs(pictures, random)
        turn = random.integers(2).bool()
        pixels = torch.where(turn[:, None, None, None], self.mirror(pixels), pixels)
        as_they_are, exchanged = self.tokens[captions], self.exchanged[captions]
        tokens = torch.where(turn[:, None], exchanged, as_they_are)
        twins = torch.where(turn[:, None], as_they_are, exchanged)
        of, place = twin_places(self.directed[captions])
        pixels[place], tokens[place] = self.mirror(pixels[of]), twins[of]
        return self.normalized(pixels), tokens

    @property
    def measured(self) -> tuple[str, ...]:
        return ("direction_accuracy",) if self.directed.any() else ()

    def measures(self, model: Any, images: Tensor, texts: Tensor) -> dict[str, float]:
        """`direction_accuracy`: how often a caption that says a direction fits its picture better than exchanged."""
        if not self.measured:
            return {}
        exchanged = torch.cat([model.encode_text(part).float() for part in self.exchanged[self.directed].split(1024)])
        pictures = images[self.owner[self.directed]]
        cosines, others = (
            (pictures * rows).sum(dim=1) for rows in (texts[self.directed], F.normalize(exchanged, dim=-1))
        )
        return {"direction_accuracy": (cosines > others).double().mean().item()}


def exchange_words(captions: Sequence[str], words: Sequence[str]) -> list[str]:
    """Captions with the two words in each other's place, wherever they are whole words; they become lowercase.

    Raises:
        ValueError: not two different words.
    """
    lower = [word.casefold() for word in words]
    if len(lower) != 2 or lower[0] == lower[1] or not all(word.isalpha() for word in lower):
        raise ValueError(f"model.mirror_words={list(words)} must be two different words, such as [left,right], or null")
    exchanged = dict(zip(lower, reversed(lower), strict=True))
    pattern = re.compile(rf"\b({lower[0]}|{lower[1]})\b", re.IGNORECASE)
    return [pattern.sub(lambda match: exchanged[match[0].casefold()], caption) for caption in captions]


def twin_places(directed: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of a batch that get a twin, and as many rows that give their places to the twins.

    Args:
        directed: (B,) bool, the rows that have a twin. Where they are more than half, only some get one.

    Returns:
        (T,) and (T,) int64.
    """
    rows, others = directed.nonzero()[:, 0], (~directed).nonzero()[:, 0]
    count = min(len(rows), len(others))
    return rows[:count], others[:count]
