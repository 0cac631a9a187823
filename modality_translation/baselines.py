"""Baselines of translation, none of them trained by gradients: the mean, nearest neighbors, a linear map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modality_translation.models import DIRECTIONS
from modality_translation.pairs import PairedRows
from modality_translation.projection import fit_projection

SIMILARITIES_AT_ONCE = 2**23  # 32 MB


class Mean:
    """The mean of the training targets for every row: the similarity that a narrow cone gives at no effort."""

    def __init__(self, pairs: PairedRows):
        self.means = {direction: pairs.between(direction)[1].mean(dim=0) for direction in DIRECTIONS}

    def translate(self, rows: Tensor, direction: str, **sampling: object) -> Tensor:
        return F.normalize(self.means[direction], dim=-1).expand(len(rows), -1)


class Linear:
    """Ridge regression with bias over all pairs (equation 13, with a penalty), one map per direction."""

    def __init__(self, pairs: PairedRows, ridge: float):
        self.maps = {}
        for direction in DIRECTIONS:
            conditions, targets, row_of = pairs.between(direction)
            linear = nn.Linear(conditions.shape[1], targets.shape[1]).to(conditions.device)
            fit_projection(linear, conditions, targets, row_of, ridge)
            self.maps[direction] = linear

    @torch.no_grad()
    def translate(self, rows: Tensor, direction: str, **sampling: object) -> Tensor:
        return F.normalize(self.maps[direction](rows), dim=-1)


class NearestNeighbors:
    """The mean target of the k training rows nearest to a row, by cosine; an image's targets are all its captions."""

    def __init__(self, pairs: PairedRows, neighbours: int):
        if not 1 <= neighbours <= len(pairs.images):
            raise ValueError(f"neighbours={neighbours} must be in 1..{len(pairs.images)}")
        self.neighbours = neighbours
        captions = torch.zeros(len(pairs.images), pairs.texts.shape[1], device=pairs.texts.device)
        captions.index_add_(0, pairs.image_row, pairs.texts)
        rows = torch.arange(len(pairs.images), device=pairs.image_row.device)
        # keys (K, C), targets (T, D), and each key's target (K,)
        self.memories = {
            "image_to_text": (pairs.images, captions, rows),
            "text_to_image": (pairs.texts, pairs.images, pairs.image_row),
        }

    def translate(self, rows: Tensor, direction: str, **sampling: object) -> Tensor:
        keys, targets, target_of = self.memories[direction]
        parts = rows.split(max(1, SIMILARITIES_AT_ONCE // len(keys)))
        nearest = target_of[torch.cat([(part @ keys.T).topk(self.neighbours).indices for part in parts])]  # (B, k)
        return F.normalize(F.embedding_bag(nearest, targets, mode="sum"), dim=-1)
