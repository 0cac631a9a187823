"""Choosing among a caption's hypotheses with the CLIP that made the embeddings.

A decoder trained on text alone never saw whether what it says fits a picture; CLIP, which did see pairs, judges that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from embedding_space.encoders.base import Encoder


def choose_by_clip(
    hypotheses: Sequence[str], scores: Tensor, embeddings: Tensor, encoder: Encoder, weight: float
) -> list[str]:
    """The hypothesis of each row with the largest score + weight x cos(its own embedding, the row's).

    Args:
        hypotheses: B x K sentences, row by row.
        scores: (B, K), how well the decoder likes them.
        embeddings: (B, D) raw embeddings that are captioned: the gap, the same for all of a row, does not matter.
    """
    different = list(dict.fromkeys(hypotheses))
    with torch.autocast(embeddings.device.type, enabled=False):
        found = F.normalize(encoder.encode_texts(different), dim=-1).to(embeddings.device)  # (U, D)
        place = {text: number for number, text in enumerate(different)}
        rows = torch.tensor([place[text] for text in hypotheses], device=embeddings.device).view(scores.shape)
        cosines = torch.einsum("bkd,bd->bk", found[rows], F.normalize(embeddings.float(), dim=-1))
    best = (scores.float() + weight * cosines).argmax(dim=1).tolist()
    count = scores.shape[1]
    return [hypotheses[row * count + choice] for row, choice in enumerate(best)]
