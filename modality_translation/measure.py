"""How close translations are to their targets: similarity, retrieval both ways, and Proposition 1's bound."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evaluation.embeddings.retrieval import (
    RetrievalScores,
    TranslationMetrics,
    image_to_text,
    paired_cosine,
    text_to_image,
)
from modality_translation.pairs import PairedRows

ROWS_AT_ONCE = 8192
SIMILARITY = {"image_to_text": "sim_txt", "text_to_image": "sim_img"}  # the paper's names


class Translator(Protocol):
    """A `Translation` or a baseline."""

    def translate(self, rows: Tensor, direction: str, **sampling: object) -> Tensor:
        """(N, C) unit rows -> (N, D) unit rows in the other space."""
        ...


def translation_metrics(
    translator: Translator, pairs: PairedRows, directions: tuple[str, ...], **sampling: object
) -> dict[str, TranslationMetrics]:
    """The metrics of each direction.

    `similarity` is the paper's Sim_txt (image_to_text) and Sim_img (text_to_image): the mean cosine of translated rows
    to their pairs' rows. Retrieval takes the translated rows as queries among the true rows of their space: captions by
    image (each of its captions is a hit), and images by caption.
    """
    return {direction: _direction_metrics(translator, pairs, direction, sampling) for direction in directions}


def _direction_metrics(translator: Translator, pairs: PairedRows, direction: str, sampling: dict) -> TranslationMetrics:
    images, texts = pairs.images, pairs.texts
    if direction == "image_to_text":
        images = translator.translate(images, direction, **sampling)
        scores = image_to_text(images, texts, pairs.image_row)
    else:
        texts = translator.translate(texts, direction, **sampling)
        scores = text_to_image(images, texts, pairs.image_row)
    return _with_similarity(scores, paired_cosine(images, texts, pairs.image_row))


def _with_similarity(scores: RetrievalScores, similarity: float) -> TranslationMetrics:
    return TranslationMetrics(**vars(scores), similarity=similarity)


def translated_cosine(made: Tensor, pairs: PairedRows, direction: str) -> float:
    """The similarity of `translation_metrics`, for rows that the translator has made from the pairs."""
    if direction == "image_to_text":
        return paired_cosine(made, pairs.texts, pairs.image_row)
    return paired_cosine(pairs.images, made, pairs.image_row)


def untranslated_metrics(pairs: PairedRows) -> dict[str, TranslationMetrics]:
    """The same metrics for images and texts of one space, as they are: CLIP without translation."""
    cosine = paired_cosine(pairs.images, pairs.texts, pairs.image_row)
    ways = {"image_to_text": image_to_text, "text_to_image": text_to_image}
    return {
        name: _with_similarity(way(pairs.images, pairs.texts, pairs.image_row), cosine) for name, way in ways.items()
    }


def share_above(translator: Translator, pairs: PairedRows, direction: str, alpha: float, **sampling: object) -> float:
    """The share of pairs whose translated row has a cosine of at least alpha to its target (see Proposition 1)."""
    conditions, targets, row_of = pairs.between(direction)
    made = translator.translate(conditions, direction, **sampling)
    parts = row_of.split(ROWS_AT_ONCE, dim=1)
    cosines = torch.cat([(made[of_condition] * targets[of_target]).sum(dim=-1) for of_condition, of_target in parts])
    return (cosines >= alpha).cpu().double().mean().item()
