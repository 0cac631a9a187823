"""Choosing among a caption's hypotheses with the CLIP that made the embeddings.

A decoder trained on text only never learned whether a caption fits a picture. CLIP, which was trained on pairs, did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import reload_encoder


class Reranker:
    """Chooses the hypothesis with the largest score + weight x cos(its embedding, its image's embedding).

    The modality gap does not matter, since it is the same for all hypotheses of an image.

    Args:
        images: (N, D) raw embeddings of the images that are captioned.
        encoder: of these embeddings.
    """

    def __init__(self, images: Tensor, encoder: Encoder):
        self.images, self.encoder = images, encoder

    def choose(self, hypotheses: Sequence[str], scores: Tensor, first_row: int, weight: float) -> list[str]:
        """One hypothesis for each of B images, from `first_row` on.

        Args:
            hypotheses: B x K sentences, image by image.
            scores: (B, K), the decoder's scores.
        """
        different = list(dict.fromkeys(hypotheses))
        images = self.images[first_row : first_row + len(scores)].to(scores.device)
        with torch.autocast(images.device.type, enabled=False):
            texts = F.normalize(self.encoder.encode_texts(different), dim=-1).to(images.device)  # (U, D)
            place = {text: number for number, text in enumerate(different)}
            rows = torch.tensor([place[text] for text in hypotheses], device=images.device).view(scores.shape)
            cosines = torch.einsum("bkd,bd->bk", texts[rows], F.normalize(images.float(), dim=-1))
        best: list[int] = (scores.float() + weight * cosines).argmax(dim=1).tolist()
        count = scores.shape[1]
        return [hypotheses[row * count + choice] for row, choice in enumerate(best)]


def load_reranking_encoder(description: Mapping) -> Encoder:
    """The encoder of the embeddings.

    Raises:
        ValueError: it cannot be loaded; the message names the option that needs it.
    """
    try:
        return reload_encoder(description)
    except (TypeError, ValueError, FileNotFoundError, ImportError) as error:
        raise ValueError(f"decoding.clip_weight > 0 needs the encoder of the embeddings: {error}") from error
