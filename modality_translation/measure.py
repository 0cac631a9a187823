"""How well a translation meets its targets: similarity, retrieval both ways, and Proposition 1's bound."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evaluation.embeddings.retrieval import image_to_text, paired_cosine, text_to_image
from modality_translation.pairs import Pairs

ROWS_AT_ONCE = 8192
SIMILARITY = {"image_to_text": "sim_txt", "text_to_image": "sim_img"}  # the paper's names


class Translator(Protocol):
    """What can be measured: a `Translation`, or a baseline."""

    def translate(self, rows: Tensor, direction: str, **sampling: object) -> Tensor:
        """(N, C) unit rows -> (N, D) unit rows in the other space."""


def measure(translator: Translator, pairs: Pairs, directions: tuple[str, ...], **sampling: object) -> dict[str, dict]:
    """For each direction {"similarity", "recall_at_1", ..., "median_rank", "queries"}.

    similarity: the paper's Sim_txt (image_to_text) and Sim_img (text_to_image): mean cosine of translated rows to what
    they are paired with. Retrieval takes the translated rows as queries among the true ones of their space:
    captions by image (a hit is any caption of it), images by caption.
    """
    return {direction: _measure(translator, pairs, direction, sampling) for direction in directions}


def _measure(translator: Translator, pairs: Pairs, direction: str, sampling: dict) -> dict:
    images, texts = pairs.images, pairs.texts
    if direction == "image_to_text":
        images = translator.translate(images, direction, **sampling)
        retrieved = image_to_text(images, texts, pairs.image_row)
    else:
        texts = translator.translate(texts, direction, **sampling)
        retrieved = text_to_image(images, texts, pairs.image_row)
    return {"similarity": paired_cosine(images, texts, pairs.image_row), **retrieved.to_dict()}


def translated_cosine(made: Tensor, pairs: Pairs, direction: str) -> float:
    """The similarity of `measure` alone, of what a translator has made of the pairs' images or texts."""
    if direction == "image_to_text":
        return paired_cosine(made, pairs.texts, pairs.image_row)
    return paired_cosine(pairs.images, made, pairs.image_row)


def measure_untranslated(pairs: Pairs) -> dict[str, dict]:
    """The same metrics of rows that are in one space already: plain CLIP."""
    cosine = paired_cosine(pairs.images, pairs.texts, pairs.image_row)
    ways = {"image_to_text": image_to_text, "text_to_image": text_to_image}
    return {
        name: {"similarity": cosine, **way(pairs.images, pairs.texts, pairs.image_row).to_dict()}
        for name, way in ways.items()
    }


def share_above(translator: Translator, pairs: Pairs, direction: str, alpha: float, **sampling: object) -> float:
    """The share of pairs whose translated row has a cosine of at least alpha to its target; Proposition 1 bounds it."""
    conditions, targets, row_of = pairs.between(direction)
    made = translator.translate(conditions, direction, **sampling)
    parts = row_of.split(ROWS_AT_ONCE, dim=1)
    cosines = torch.cat([(made[of_condition] * targets[of_target]).sum(dim=-1) for of_condition, of_target in parts])
    return (cosines >= alpha).cpu().double().mean().item()
