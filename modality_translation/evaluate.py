"""A translation on a data set: similarity, retrieval, Proposition 1 and zero-shot classification."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from evaluation.embeddings.classification import Classification
from evaluation.embeddings.zero_shot import ZeroShotScores
from modality_translation.bound import cosine_bound
from modality_translation.measure import share_above
from modality_translation.models import ConditionalEncoderDecoder
from modality_translation.pairs import PairedRows
from modality_translation.translation import Translation


def proposition_1(
    translation: Translation, pairs: PairedRows, alpha: float, sampling: Mapping[str, object]
) -> dict[str, list[dict[str, float]]]:
    """By direction, the share of pairs with a cosine of at least alpha next to its bound; none for models and settings
    without both terms of equation 5."""
    chosen = translation.sampling.changed(sampling)
    bounds = {}
    for name, model in translation.directions.items():
        if not isinstance(model, ConditionalEncoderDecoder) or model.projection is None:
            continue
        if chosen.terms != "both" or chosen.gamma == 0:
            continue
        conditions, targets, _ = pairs.between(name)
        with torch.no_grad():
            projected = model.projection(conditions)
        # The bound is of one target; its mean over all is that of a target drawn at random.
        energies = projected.square().sum(dim=-1).clamp(max=1).double().cpu().numpy()
        bound = cosine_bound(alpha, energies, chosen.gamma, targets.shape[1]).mean().item()
        share = share_above(translation, pairs, name, alpha, **sampling)
        bounds[name] = [{"alpha": alpha, "share": share, "bound": bound}]
    return bounds


def classify(
    translation: Translation, images: Tensor, task: Classification, joint: bool, sampling: Mapping[str, object]
) -> dict[str, ZeroShotScores]:
    """Translated images among class names, class names translated among images, as far as there are directions; and
    both untranslated, if they are in one space (`joint`).

    images: (N, D) unit rows of the images that have a class.
    """
    prompts, scores = task.prompts(translation.encoders["texts"]), {}
    if "image_to_text" in translation.directions:
        scores["images translated"] = task.score(translation.translate(images, "image_to_text", **sampling), prompts)
    if "text_to_image" in translation.directions:
        translated = translation.translate(prompts, "text_to_image", **sampling)
        scores["class names translated"] = task.score(images, translated)
    if joint:
        scores["untranslated"] = task.score(images, prompts)
    return scores
