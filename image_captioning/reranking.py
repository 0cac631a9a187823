"""Choosing among a caption's hypotheses by more than the decoder's likelihood.

A decoder trained on text only never learned whether a caption fits a picture. CLIP, which was trained on pairs, did;
and the training captions near the picture say what is likely there (`consensus`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from embedding_space.encoders.base import Encoder
from embedding_space.encoders.load import reload_encoder
from image_captioning.consensus import Consensus, ConsensusMemory
from image_captioning.generation import Decoding


class Judge(Protocol):
    """Says how well hypotheses fit the images that are captioned."""

    def scores(self, hypotheses: Sequence[str], first_row: int, count: int) -> Tensor:
        """(B, count) of B x count hypotheses, image by image; the first image is number `first_row`."""
        ...


class ClipJudge:
    """Scores hypotheses by the cosine of their embeddings and their images'.

    The modality gap does not matter, since it is the same for all hypotheses of an image.

    Args:
        images: (N, D) raw embeddings of the images that are captioned.
        encoder: of these embeddings.
    """

    def __init__(self, images: Tensor, encoder: Encoder):
        self.images, self.encoder = images, encoder

    def scores(self, hypotheses: Sequence[str], first_row: int, count: int) -> Tensor:
        """As `Judge.scores`."""
        different = list(dict.fromkeys(hypotheses))
        images = self.images[first_row : first_row + len(hypotheses) // count]
        with torch.autocast(images.device.type, enabled=False):
            texts = F.normalize(self.encoder.encode_texts(different), dim=-1).to(images.device)  # (U, D)
            place = {text: number for number, text in enumerate(different)}
            rows = torch.tensor([place[text] for text in hypotheses], device=images.device).view(-1, count)
            return torch.einsum("bkd,bd->bk", texts[rows], F.normalize(images.float(), dim=-1))


class Reranker:
    """Chooses the hypothesis with the largest score + the judges' weighted scores.

    Args:
        judges: each with its weight.
    """

    def __init__(self, *judges: tuple[float, Judge]):
        self.judges = judges

    def choose(self, hypotheses: Sequence[str], scores: Tensor, first_row: int) -> list[str]:
        """One hypothesis for each of B images, from `first_row` on.

        Args:
            hypotheses: B x K sentences, image by image.
            scores: (B, K), the decoder's scores.
        """
        total, count = scores.float(), scores.shape[1]
        for weight, judge in self.judges:
            total = total + weight * judge.scores(hypotheses, first_row, count).to(total.device)
        best: list[int] = total.argmax(dim=1).tolist()
        return [hypotheses[row * count + choice] for row, choice in enumerate(best)]


def make_reranker(
    own_space: bool,
    encoder_description: Mapping,
    images: Tensor,
    decoding: Decoding,
    encoder: Encoder | None = None,
    memory: Callable[[], ConsensusMemory] | None = None,
) -> Reranker | None:
    """What chooses among the beams of these images; None where it is the decoder alone.

    Args:
        own_space: whether the images are in the space of the texts, and not translated into it.
        encoder_description: of the embeddings that the captioner reads.
        images: (N, D) raw embeddings.
        encoder: embeds hypotheses for `decoding.clip_weight`; by default the embeddings' encoder is loaded.
        memory: makes the training captions for `decoding.consensus_weight`.

    Raises:
        ValueError: the images' space is not that of the texts, their encoder cannot be loaded, or there are no training
            captions.
    """
    weights = {name: getattr(decoding, name) or 0.0 for name in ("clip_weight", "consensus_weight")}
    for name, weight in weights.items():
        if weight and not own_space:
            raise ValueError(
                f"decoding.{name} compares images with sentences in one space, which translated images do not "
                "share: set it to 0"
            )
    judges: list[tuple[float, Judge]] = []
    if weight := weights["clip_weight"]:
        judges.append((weight, ClipJudge(images, encoder or load_reranking_encoder(encoder_description))))
    if weight := weights["consensus_weight"]:
        if memory is None:
            raise ValueError(
                f"decoding.consensus_weight={weight} reads the captions that the captioner was trained on: name "
                "their store with training_store=..., or set it to 0"
            )
        options = decoding.consensus_captions or 1, decoding.consensus_temperature or 1.0
        judges.append((weight, Consensus(memory(), images, *options)))
    return Reranker(*judges) if judges else None


def load_reranking_encoder(description: Mapping) -> Encoder:
    """The encoder of the embeddings.

    Raises:
        ValueError: it cannot be loaded; the message names the option that needs it.
    """
    try:
        return reload_encoder(description)
    except (TypeError, ValueError, FileNotFoundError, ImportError) as error:
        raise ValueError(f"decoding.clip_weight > 0 needs the encoder of the embeddings: {error}") from error
