"""Captions as tokens of one length, for text towers that are trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from common.warn import warn_once


def caption_tokens(
    tokenizer: PreTrainedTokenizerBase, captions: Sequence[str], context_length: int, split: str
) -> Tensor:
    """(M, context_length) int64, padded; captions of more tokens are cut, with a warning that counts them."""
    lengths = map(len, tokenizer(list(captions), verbose=False)["input_ids"])
    if cut := sum(length > context_length for length in lengths):
        warn_once(
            f"{cut:,} of {len(captions):,} captions of {split} are longer than "
            f"model.text_cfg.context_length={context_length} tokens and are read up to there"
        )
    return tokenizer(
        list(captions), padding="max_length", truncation=True, max_length=context_length, return_tensors="pt"
    )["input_ids"]
