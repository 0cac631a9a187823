"""Captions as token tensors: tokenized once, kept ragged on the device, padded batch by batch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from image_captioning.tokenizer import end_token

CAPTIONS_AT_ONCE = 65_536


@dataclass(frozen=True)
class CaptionTokens:
    """The token ids of M captions, each ended by the end token.

    Attributes:
        tokens: (all tokens,) int32, one caption after the other.
        starts: (M,) int64, where each caption begins.
        lengths: (M,) int64, how many tokens it has.
        pad: the token id that fills the rest of a batch.
    """

    tokens: Tensor
    starts: Tensor
    lengths: Tensor
    pad: int

    @classmethod
    def encode(
        cls,
        captions: list[str],
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
        truncate: bool = False,
        allow_empty: bool = False,
    ) -> CaptionTokens:
        """Tokenize `captions`.

        Args:
            max_tokens: of the longest caption, with its end token.
            truncate: cut longer captions, which then have no end token, and warn how many.
            allow_empty: an empty caption is the end token only.

        Raises:
            ValueError: a caption is empty without `allow_empty`, longer than max_tokens without `truncate`, or holds
                the end token's text.
        """
        end = end_token(tokenizer)
        lengths = np.empty(len(captions), dtype=np.int64)
        flat = []
        for start in range(0, len(captions), CAPTIONS_AT_ONCE):  # lists of numbers take ten times the memory of arrays
            # A pretrained tokenizer would also make tokens of stray white space.
            part = [" ".join(caption.split()) for caption in captions[start : start + CAPTIONS_AT_ONCE]]
            ids = tokenizer(part, add_special_tokens=False, return_attention_mask=False, verbose=False).input_ids
            lengths[start : start + len(part)] = [len(caption) + 1 for caption in ids]
            flat.append(np.fromiter((t for row in ids for t in (*row, end)[:max_tokens]), dtype=np.int32))
        lengths = torch.from_numpy(lengths)
        if (lengths < 2).any() and not allow_empty:
            row = int((lengths < 2).nonzero()[0])
            raise ValueError(f"Caption {row} of the split is empty ({captions[row]!r}): remove it from the tables")
        long = int((lengths > max_tokens).sum())
        if long and not truncate:
            row = int(lengths.argmax())
            raise ValueError(
                f"{long} captions have more than max_tokens={max_tokens} tokens; the longest, row {row}, has "
                f"{int(lengths[row])}: raise decoder.max_tokens, or cut them with decoder.truncate=true"
            )
        if long:
            warnings.warn(
                f"{long} of {len(captions)} captions were cut to decoder.max_tokens={max_tokens} tokens",
                stacklevel=2,
            )
        lengths = lengths.clamp(max=max_tokens)
        flat = torch.from_numpy(np.concatenate(flat))
        starts = lengths.cumsum(0) - lengths
        last = torch.zeros(len(flat), dtype=torch.bool).index_fill(0, starts + lengths - 1, True)
        if ((flat == end) & ~last).any():
            row = int(torch.searchsorted(starts, ((flat == end) & ~last).nonzero()[0], right=True)) - 1
            raise ValueError(
                f"Caption {row} of the split contains the end token {tokenizer.eos_token!r}: {captions[row]!r}"
            )
        return cls(flat, starts, lengths, pad=end)

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device | str) -> CaptionTokens:
        return CaptionTokens(self.tokens.to(device), self.starts.to(device), self.lengths.to(device), self.pad)

    def batch(self, rows: Tensor, width: int | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (B, T) int64 and mask (B, T) bool of captions `rows`, padded to `width` or to the longest of them."""
        width = width or int(self.lengths[rows].max())
        place = torch.arange(width, device=rows.device)
        mask = place < self.lengths[rows, None]  # (B, T)
        index = (self.starts[rows, None] + place).clamp(max=len(self.tokens) - 1)
        return torch.where(mask, self.tokens[index].long(), self.pad), mask


def check_finite(rows: Tensor, what: str) -> Tensor:
    """`rows` (N, D) unchanged; ValueError names the first row that holds a NaN or an infinity."""
    bad = (~torch.isfinite(rows).all(dim=-1)).nonzero()
    if len(bad):
        raise ValueError(f"Row {int(bad[0])} of {what} is not finite ({len(bad)} such rows): encode the data again")
    return rows
