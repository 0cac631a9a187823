"""Similarity of the two modalities: cosines, alignment and uniformity, CKA and linear separability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import model_serializer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from evaluation.geometry.sample import Cosines, Embeddings, Summary

LOGISTIC_PENALTY = 1e-3  # times the squared norm of the weights, added to the mean loss


@dataclass(frozen=True)
class CosinesByKind:
    """Cosines of two images, of two texts, of an image and another text, and of pairs, None if they are unknown."""

    image_image: Cosines
    text_text: Cosines
    unpaired: Cosines
    paired: Cosines | None = None

    @model_serializer
    def to_json(self) -> dict[str, Any]:
        """The values in `geometry.json`, which has no key for pairs if they are unknown."""
        return {name: cosines for name, cosines in vars(self).items() if cosines is not None}


@dataclass(frozen=True)
class Separability:
    """Accuracy of a linear classifier of modalities: of rows as they are, and of centered ones. 0.5 is chance."""

    as_they_are: float
    centred: float


@dataclass(frozen=True)
class PairedCka:
    """Linear CKA of pairs, and of the same rows in random order."""

    linear: float
    linear_shuffled: float


def cosine_statistics(embeddings: Embeddings, draws: int) -> CosinesByKind:
    """Cosines within the modalities and between them, of `draws` pairs of rows each."""
    images, texts = (F.normalize(rows, dim=-1) for rows in (embeddings.images, embeddings.texts))
    image_image, text_text = (
        Cosines.of((rows[first] * rows[second]).sum(-1))
        for rows in (images, texts)
        for first, second in [embeddings.two_of(len(rows), draws)]
    )
    generator = embeddings.generator()
    image, text = (torch.randint(len(rows), (draws,), generator=generator) for rows in (images, texts))
    paired = None
    if embeddings.image_row is not None:
        apart = embeddings.image_row[text] != image
        image, text = image[apart], text[apart]
        paired = Cosines.of((images[embeddings.image_row] * texts).sum(-1))
    return CosinesByKind(image_image, text_text, Cosines.of((images[image] * texts[text]).sum(-1)), paired)


def uniformity(rows: Tensor, draws: tuple[Tensor, Tensor]) -> float:
    """Logarithm of the mean of exp(-2 |x - y|²) over drawn pairs of unit rows: 0 for one point, near -4 if spread out.

    Wang and Isola, arXiv 2005.10242, section 4.1.2, t = 2.
    """
    rows = F.normalize(rows, dim=-1)
    squares = (rows[draws[0]] - rows[draws[1]]).square().sum(-1).double()
    return (-2 * squares).exp().mean().log().item()


def pair_alignment(embeddings: Embeddings) -> Summary:
    """Mean squared distance of the unit rows of pairs (Wang and Isola, section 4.1.1, α = 2)."""
    images, texts = (F.normalize(rows, dim=-1) for rows in (embeddings.images, embeddings.texts))
    return Summary.of((images[embeddings.image_row] - texts).square().sum(-1))


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centered kernel alignment of rows (N, D) and (N, E): 1 for rows that agree up to rotation and scale.

    Kornblith et al., arXiv 1905.00414, section 3. It is biased upwards unless N is far above D: compare with shuffled
    rows.
    """
    first, second = ((rows - rows.mean(0)).double() for rows in (first, second))
    norms = (first.T @ first).norm() * (second.T @ second).norm()
    return ((first.T @ second).square().sum() / norms.clamp(min=1e-30)).item()


def paired_cka(embeddings: Embeddings) -> PairedCka:
    """Linear CKA of images and their first texts."""
    first = embeddings.first_texts
    images, texts = embeddings.images[embeddings.image_row][first], embeddings.texts[first]
    shuffled = torch.randperm(len(first), generator=embeddings.generator())
    return PairedCka(linear=linear_cka(images, texts), linear_shuffled=linear_cka(images, texts[shuffled]))


def separability(embeddings: Embeddings) -> Separability:
    """Accuracy of a linear classifier (logistic regression) of modalities on rows that it was not fitted to.

    Both modalities have the same weight, so that 0.5 is chance. For `as_they_are` it is fitted to one half of the
    images with their texts and classifies the other half.

    For `centred`, each part is centered with the *other* part's means within its half. With its own means the
    classifier could learn nothing; with shared means it would exploit their estimation error.
    """
    generator = embeddings.generator()
    quarters = torch.randperm(len(embeddings.images), generator=generator) % 4
    if embeddings.image_row is None:
        of_texts = torch.randperm(len(embeddings.texts), generator=generator) % 4
    else:
        of_texts = quarters[embeddings.image_row]
    parts = [(embeddings.images[quarters == part], embeddings.texts[of_texts == part]) for part in range(4)]
    if min(len(rows) for part in parts for rows in part) == 0:  # few rows: a quarter came out without texts
        return Separability(0.5, 0.5)
    halves = parts[:2], parts[2:]
    whole = [[torch.cat(rows) for rows in zip(*half, strict=True)] for half in halves]
    centered = [[rows - of.mean(0) for rows, of in zip(part, other, strict=True)] for part, other in halves]
    return Separability(_held_out_accuracy(*whole), _held_out_accuracy(*centered))


def _held_out_accuracy(fit: list[Tensor], test: list[Tensor]) -> float:
    scale = torch.cat(fit).std().clamp(min=1e-12)
    sides = np.repeat([1, -1], [len(rows) for rows in fit])
    weights = np.repeat([0.5 / len(rows) for rows in fit], [len(rows) for rows in fit])
    classifier = LogisticRegression(C=0.5 / LOGISTIC_PENALTY, tol=1e-6, max_iter=1000)
    classifier.fit((torch.cat(fit) / scale).numpy(), sides, weights)
    values = [classifier.decision_function((rows / scale).numpy()) for rows in test]
    # A row on the separating plane counts half, so that a classifier that learned nothing has 0.5.
    return float(np.mean([(1 + side * np.sign(part)).mean() / 2 for part, side in zip(values, (1, -1), strict=True)]))
