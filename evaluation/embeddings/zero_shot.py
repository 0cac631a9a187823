"""Zero-shot classification (Radford et al. 2021, arXiv:2103.00020, section 3.1): an image is of the class whose prompts
are nearest, by the mean of their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPLATES = ("a photo of a {}.",)
_IMAGES_AT_ONCE = 8192


@dataclass(frozen=True)
class ZeroShotScores:
    """Accuracies are fractions (0 to 1) of the images; mean_per_class weighs the classes that have images equally.

    r_precision is of retrieval by class: of the R images nearest to a class of R images, the share that is of it
    (Manning et al. 2008, Introduction to Information Retrieval, section 8.4), as the mean over these classes.
    """

    top_1: float
    top_5: float
    mean_per_class: float
    r_precision: float
    images: int
    classes: int


def class_prompts(classes: Sequence[str], templates: Sequence[str] = TEMPLATES) -> list[str]:
    """Each class in each template, class by class. Raises ValueError for no template or one without a place `{}`, and
    for fewer than two classes or one named twice."""
    if not templates or any(template.count("{}") != 1 for template in templates):
        raise ValueError(f"templates={list(templates)} must each hold {{}} once, in the class's place")
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise ValueError(f"classes={list(classes)[:10]} must be two or more, each once")
    return [template.replace("{}", name) for name in classes for template in templates]


def class_embeddings(prompts: Tensor, templates: int) -> Tensor:
    """(C x T, D) unit rows of `class_prompts` -> (C, D): the mean over a class's T templates, as unit rows."""
    return F.normalize(prompts.unflatten(0, (-1, templates)).mean(dim=1), dim=-1)


def zero_shot_scores(images: Tensor, classes: Tensor, labels: Tensor) -> ZeroShotScores:
    """How often an image's own class is the nearest, or among the five nearest.

    images: (N, D) and classes: (C, D), unit rows; labels: (N,) int64. A class that is level with the own one counts
    as nearer, so that embeddings that say nothing score nothing. Raises ValueError for a label that is no class.
    """
    if not len(labels) or labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"There must be labels, from 0 to {len(classes) - 1}, got {len(labels)} of them: {labels[:5]}")
    ahead = torch.empty(len(images), dtype=torch.int64)
    for rows in torch.arange(len(images)).split(_IMAGES_AT_ONCE):
        cosines = images[rows] @ classes.T  # (B, C)
        of_label = cosines.gather(1, labels[rows, None].to(cosines.device))
        ahead[rows] = ((cosines >= of_label).sum(1) - 1).cpu()
    right, labels = (ahead == 0).double(), labels.cpu()
    counts = torch.bincount(labels, minlength=len(classes))
    by_class = torch.zeros(len(classes), dtype=torch.float64).index_add_(0, labels, right)[counts > 0]
    return ZeroShotScores(
        top_1=right.mean().item(),
        top_5=(ahead < 5).double().mean().item(),
        mean_per_class=(by_class / counts[counts > 0]).mean().item(),
        r_precision=_r_precision(images, classes, labels),
        images=len(images),
        classes=len(classes),
    )


def _r_precision(images: Tensor, classes: Tensor, labels: Tensor) -> float:
    """As `ZeroShotScores.r_precision`. Of images that are level, those of other classes come first."""
    shares = []
    for label in labels.unique().tolist():
        cosines = (images @ classes[label]).cpu()
        relevant, others = cosines[labels == label].sort(descending=True).values, cosines[labels != label].sort().values
        before = torch.arange(len(relevant)) + len(others) - torch.searchsorted(others, relevant)
        shares.append((before < len(relevant)).double().mean())
    return torch.stack(shares).mean().item()
