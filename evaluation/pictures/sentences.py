"""Whether pictures show what their sentences say, by an encoder's embeddings of both."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from common.checks import checked_dataclass
from common.randomness import mixed_seed

_DRAWN_A_CHUNK = 2**22  # random numbers in memory at a time
_TIE = 1e-6  # as in retrieval.py


@checked_dataclass("r_precision.")
class RPrecision:
    """Options `r_precision.*`.

    candidates: sentences that a picture is to be matched with, its own among them (Xu et al. 2018, AttnGAN,
        arXiv:1711.10485, section 4: 100).
    """

    candidates: Annotated[int, Field(ge=2)] = 100


def r_precision(pictures: Tensor, sentences: Tensor, sentence_rows: Tensor, options: RPrecision, seed: int) -> Tensor:
    """(N,) float64: whether a picture's own sentence is nearer to it than others drawn at random; 1 / t where t
    sentences, its own among them, are equally near.

    Args:
        pictures: (N, D) unit rows.
        sentences: (S, D) unit rows of different sentences: what is drawn never equals the picture's own.
        sentence_rows: (N,) int64, each picture's sentence.
        seed: of the draws.

    Raises ValueError for fewer sentences than candidates.
    """
    others = options.candidates - 1
    if len(sentences) < options.candidates:
        raise ValueError(
            f"there are {len(sentences):,} different sentences: generate pictures of more, or lower "
            f"r_precision.candidates={options.candidates}"
        )
    generator = torch.Generator().manual_seed(mixed_seed(seed, 17))
    parts = []
    rows = max(1, _DRAWN_A_CHUNK // len(sentences))
    for images, own in zip(pictures.split(rows), sentence_rows.split(rows), strict=True):
        keys = torch.rand(len(images), len(sentences), generator=generator).scatter_(1, own[:, None], -1.0)
        drawn = keys.topk(others, dim=1).indices  # (C, others), never the own one
        cosines = images @ sentences.T  # (C, S)
        ours, theirs = cosines.gather(1, own[:, None]), cosines.gather(1, drawn)
        beaten = (theirs > ours + _TIE).any(1)
        level = 1 + ((theirs - ours).abs() <= _TIE).sum(1)
        parts.append(torch.where(beaten, 0.0, 1 / level.double()))
    return torch.cat(parts)
