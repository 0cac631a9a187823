"""Similarity of the two modalities: cosines, alignment and uniformity, CKA and linear separability."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from evaluation.geometry.sample import Embeddings, summary, with_histogram

LOGISTIC_PENALTY = 1e-3  # times the squared norm of the weights, added to the mean loss


def cosine_statistics(embeddings: Embeddings, draws: int) -> dict:
    """Cosines of two images, of two texts, of an image and another text, and of pairs if they are known."""
    images, texts = (F.normalize(rows, dim=-1) for rows in (embeddings.images, embeddings.texts))
    cosines = {
        name: with_histogram((rows[first] * rows[second]).sum(-1))
        for name, rows in (("image_image", images), ("text_text", texts))
        for first, second in [embeddings.two_of(len(rows), draws)]
    }
    generator = embeddings.generator()
    image, text = (torch.randint(len(rows), (draws,), generator=generator) for rows in (images, texts))
    if embeddings.image_row is not None:
        apart = embeddings.image_row[text] != image
        image, text = image[apart], text[apart]
        cosines["paired"] = with_histogram((images[embeddings.image_row] * texts).sum(-1))
    return {**cosines, "unpaired": with_histogram((images[image] * texts[text]).sum(-1))}


def uniformity(rows: Tensor, draws: tuple[Tensor, Tensor]) -> float:
    """Logarithm of the mean of exp(-2 |x - y|²) over drawn pairs of unit rows: 0 for one point, near -4 if spread out.

    Wang and Isola, arXiv 2005.10242, section 4.1.2, t = 2.
    """
    rows = F.normalize(rows, dim=-1)
    squares = (rows[draws[0]] - rows[draws[1]]).square().sum(-1).double()
    return (-2 * squares).exp().mean().log().item()


def pair_alignment(embeddings: Embeddings) -> dict[str, float]:
    """Mean squared distance of the unit rows of pairs (Wang and Isola, section 4.1.1, α = 2)."""
    images, texts = (F.normalize(rows, dim=-1) for rows in (embeddings.images, embeddings.texts))
    return summary((images[embeddings.image_row] - texts).square().sum(-1))


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centered kernel alignment of rows (N, D) and (N, E): 1 for rows that agree up to rotation and scale.

    Kornblith et al., arXiv 1905.00414, section 3. It is biased upwards unless N is far above D: compare with shuffled
    rows.
    """
    first, second = ((rows - rows.mean(0)).double() for rows in (first, second))
    norms = (first.T @ first).norm() * (second.T @ second).norm()
    return ((first.T @ second).square().sum() / norms.clamp(min=1e-30)).item()


def paired_cka(embeddings: Embeddings) -> dict[str, float]:
    """Linear CKA of images and their first texts, and of the same rows in random order."""
    first = embeddings.first_texts
    images, texts = embeddings.images[embeddings.image_row][first], embeddings.texts[first]
    shuffled = torch.randperm(len(first), generator=embeddings.generator())
    return {"linear": linear_cka(images, texts), "linear_shuffled": linear_cka(images, texts[shuffled])}


def separability(embeddings: Embeddings) -> dict[str, float]:
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
        return {"as_they_are": 0.5, "centred": 0.5}
    halves = parts[:2], parts[2:]
    whole = [[torch.cat(rows) for rows in zip(*half, strict=True)] for half in halves]
    centered = [[rows - of.mean(0) for rows, of in zip(part, other, strict=True)] for part, other in halves]
    return {"as_they_are": _held_out_accuracy(*whole), "centred": _held_out_accuracy(*centered)}


def _held_out_accuracy(fit: list[Tensor], test: list[Tensor]) -> float:
    scale = torch.cat(fit).std().clamp(min=1e-12)
    sides = np.repeat([1, -1], [len(rows) for rows in fit])
    weights = np.repeat([0.5 / len(rows) for rows in fit], [len(rows) for rows in fit])
    classifier = LogisticRegression(C=0.5 / LOGISTIC_PENALTY, tol=1e-6, max_iter=1000)
    classifier.fit((torch.cat(fit) / scale).numpy(), sides, weights)
    values = [classifier.decision_function((rows / scale).numpy()) for rows in test]
    # A row on the separating plane counts half, so that a classifier that learned nothing has 0.5.
    return float(np.mean([(1 + side * np.sign(part)).mean() / 2 for part, side in zip(values, (1, -1), strict=True)]))
