"""ViECap's hard prompt: "There are dog, ball in image." as tokens of the decoder's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

BEGINNING, NOTHING, ENDING = "There are", "something", "in image."
_FIRST_NAME = 3  # piece 0 is the beginning, 1 "something", 2 the ending; then " dog" of each name, then ", dog"


class HardPrompt(nn.Module):
    """Prompts of words (ViECap, arXiv 2307.16525, section 3.2): "There are dog, ball in image.", and "There are
    something in image." without words.

    A prompt is joined from pieces that were tokenized before training; the tokens are those of the whole sentence.

    Args:
        names: C, how many words the vocabulary has.
        width: L, tokens of the longest piece.
        longest: tokens of the longest prompt.
    """

    tokens: Tensor
    lengths: Tensor

    def __init__(self, names: int, width: int, longest: int):
        super().__init__()
        self.names, self.longest = names, longest
        self.register_buffer("tokens", torch.zeros(_FIRST_NAME + 2 * names, width, dtype=torch.long))
        self.register_buffer("lengths", torch.zeros(_FIRST_NAME + 2 * names, dtype=torch.long))

    @classmethod
    def of(cls, names: Sequence[str], tokenizer: PreTrainedTokenizerFast, words: int) -> HardPrompt:
        """The prompts of at most `words` of these names.

        Raises:
            ValueError: the tokenizer joins a name with the words around it.
        """
        [(beginning, nothing, ending)] = _cut([f"{BEGINNING} {NOTHING} {ENDING}"], tokenizer, (NOTHING,))
        pieces = [beginning, nothing, ending]
        cuts = _cut([f"{BEGINNING} {name}, {name} {ENDING}" for name in names], tokenizer, names, twice=True)
        for name, (first, *_, last) in zip(names, cuts, strict=True):
            if (first, last) != (beginning, ending):
                raise ValueError(f"The tokenizer reads {name!r} as one with the words around it: no prompt can name it")
        pieces += [cut[1] for cut in cuts] + [cut[2] for cut in cuts]
        lengths = np.array([len(piece) for piece in pieces])
        most = np.sort(lengths[_FIRST_NAME + len(names) :])[::-1][:words].sum()
        longest = len(beginning) + len(ending) + max(int(most), len(nothing))
        prompt = cls(len(names), int(lengths.max()), longest)
        prompt.lengths.copy_(torch.from_numpy(lengths))
        places = torch.arange(prompt.tokens.shape[1]) < prompt.lengths[:, None]
        prompt.tokens[places] = torch.tensor([token for piece in pieces for token in piece])
        return prompt

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Words (B, E), -1 for none -> tokens (B, T), and mask (B, T) bool, false at padding, which is on the left."""
        there = words >= 0
        first = there & (there.cumsum(1) == 1)
        # Piece numbers (B, E + 3): beginning, perhaps "something", the words, ending.
        pieces = torch.zeros(len(words), words.shape[1] + 3, dtype=torch.long, device=words.device)
        pieces[:, 1], pieces[:, -1] = 1, 2
        pieces[:, 2:-1] = _FIRST_NAME + words.clamp(min=0) + torch.where(first, 0, self.names)
        used = torch.ones_like(pieces, dtype=torch.bool)
        used[:, 1], used[:, 2:-1] = ~there.any(1), there
        lengths = self.lengths[pieces] * used  # (B, E + 3)
        mask = torch.arange(self.tokens.shape[1], device=words.device) < lengths[..., None]  # (B, E + 3, L)
        mask, tokens = mask.flatten(1), self.tokens[pieces].flatten(1)
        order = mask.long().argsort(dim=1, stable=True)  # tokens to the right, in their order
        order = order[:, mask.shape[1] - int(lengths.sum(1).max()) :]
        return tokens.gather(1, order), mask.gather(1, order)


def _cut(
    sentences: list[str], tokenizer: PreTrainedTokenizerFast, names: Sequence[str], twice: bool = False
) -> list[list[list[int]]]:
    """The tokens of each sentence's pieces: the beginning, its name (and the comma and name again), the ending."""
    encoded = tokenizer(
        sentences, add_special_tokens=False, return_attention_mask=False, return_offsets_mapping=True, verbose=False
    )
    cuts = []
    for ids, offsets, name in zip(encoded["input_ids"], encoded["offset_mapping"], names, strict=True):
        parts = [len(BEGINNING), 1 + len(name), *([2 + len(name)] if twice else [])]
        pieces: list[list[int]] = [[] for _ in range(len(parts) + 1)]
        places = np.searchsorted(np.cumsum(parts), [end for _, end in offsets])  # a token belongs where its end is
        for token, place in zip(ids, places, strict=True):
            pieces[place].append(token)
        cuts.append(pieces)
    return cuts
