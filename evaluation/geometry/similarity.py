"""How alike the two modalities are: cosines, alignment and uniformity, CKA, and whether a plane can part them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from evaluation.geometry.sample import Embeddings, summary, with_histogram

LOGISTIC_PENALTY = 1e-3  # times the squared norm of the plane, beside the mean loss


def cosine_figures(embeddings: Embeddings, draws: int) -> dict:
    """Cosines of two images, two texts, an image and any text; of pairs, where they are known."""
    images, texts = (F.normalize(rows, dim=-1) for rows in (embeddings.images, embeddings.texts))
    found = {
        name: with_histogram((rows[first] * rows[second]).sum(-1))
        for name, rows in (("image_image", images), ("text_text", texts))
        for first, second in [embeddings.two_of(len(rows), draws)]
    }
    generator = embeddings.generator()
    image, text = (torch.randint(len(rows), (draws,), generator=generator) for rows in (images, texts))
    if embeddings.image_row is not None:
        apart = embeddings.image_row[text] != image
        image, text = image[apart], text[apart]
        found["paired"] = with_histogram((images[embeddings.image_row] * texts).sum(-1))
    return {**found, "unpaired": with_histogram((images[image] * texts[text]).sum(-1))}


def uniformity(rows: Tensor, draws: tuple[Tensor, Tensor]) -> float:
    """log of the mean of exp(-2 |x - y|²) over drawn pairs of unit rows: near -4 they are spread out, at 0 one point
    (Wang and Isola, arXiv 2005.10242, section 4.1.2, t = 2)."""
    rows = F.normalize(rows, dim=-1)
    squares = (rows[draws[0]] - rows[draws[1]]).square().sum(-1).double()
    return (-2 * squares).exp().mean().log().item()


def pair_alignment(embeddings: Embeddings) -> dict[str, float]:
    """Mean squared distance of the unit rows of pairs (Wang and Isola, section 4.1.1, α = 2)."""
    images, texts = (F.normalize(rows, dim=-1) for rows in (embeddings.images, embeddings.texts))
    return summary((images[embeddings.image_row] - texts).square().sum(-1))


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment of rows (N, D) and (N, E): 1 for rows alike up to rotation and scale (Kornblith
    et al., arXiv 1905.00414, section 3). Biased upwards where N is not far above D: compare with shuffled rows."""
    first, second = ((rows - rows.mean(0)).double() for rows in (first, second))
    own = (first.T @ first).norm() * (second.T @ second).norm()
    return ((first.T @ second).square().sum() / own.clamp(min=1e-30)).item()


def paired_cka(embeddings: Embeddings) -> dict[str, float]:
    """Linear CKA of images and their first texts, and of the same rows out of order."""
    first = embeddings.first_texts
    images, texts = embeddings.images[embeddings.image_row[first]], embeddings.texts[first]
    shuffled = torch.randperm(len(first), generator=embeddings.generator())
    return {"linear": linear_cka(images, texts), "linear_shuffled": linear_cka(images, texts[shuffled])}


def separability(embeddings: Embeddings) -> dict[str, float]:
    """Share of rows that a linear classifier (logistic regression) puts in the right modality, of images and texts that
    it was not fitted to; both modalities count alike, so 0.5 is chance.

    `as_they_are`: one half of the images, with its texts, is fitted to, the other classified. `centred` on each
    modality's mean: in each half one part is centred on the means of the other. Centred on means of its own, the part
    fitted to would teach nothing; centred on the same means, both parts would share these means' error, which in
    hundreds of dimensions a plane finds.
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
    whole = [tuple(torch.cat(rows) for rows in zip(*half, strict=True)) for half in halves]
    centred = [tuple(rows - of.mean(0) for rows, of in zip(part, of_part, strict=True)) for part, of_part in halves]
    return {"as_they_are": _held_out_accuracy(*whole), "centred": _held_out_accuracy(*centred)}


def _held_out_accuracy(fit: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    scale = torch.cat(fit).std().clamp(min=1e-12)
    sides = np.repeat([1, -1], [len(rows) for rows in fit])
    weights = np.repeat([0.5 / len(rows) for rows in fit], [len(rows) for rows in fit])
    classifier = LogisticRegression(C=0.5 / LOGISTIC_PENALTY, tol=1e-6, max_iter=1000)
    classifier.fit((torch.cat(fit) / scale).numpy(), sides, weights)
    values = [classifier.decision_function((rows / scale).numpy()) for rows in test]
    # A row on the plane itself counts half, so that a classifier that learnt nothing has 0.5.
    return float(np.mean([(1 + side * np.sign(part)).mean() / 2 for part, side in zip(values, (1, -1), strict=True)]))
