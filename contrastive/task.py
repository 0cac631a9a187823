"""The contrastive objective as a Task of the training loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from torch import Tensor

from contrastive.pairs import Pairs
from evaluation.embeddings.retrieval import (
    RetrievalScores,
    centroid_distance,
    image_to_text,
    paired_cosine,
    text_to_image,
)
from training.batches import EpochOrder, StepRandom
from training.kept_weights import Better
from training.loop import Evaluation

WAYS = ("image_to_text", "text_to_image")
RECALLS = tuple(field.name for field in fields(RetrievalScores) if field.name.startswith("recall"))
BETTER: dict[str, Better] = {
    **{f"{way}_{recall}": "higher" for way in WAYS for recall in RECALLS},
    **{f"{way}_median_rank": "lower" for way in WAYS},
    "retrieval_error": "lower",
    "paired_cosine": "higher",
    "centred_cosine": "higher",
    "centroid_distance": "lower",
}
MAX_LOGIT_SCALE = math.log(100.0)  # as in CLIP (arXiv 2103.00020, section 2.5)


class ContrastiveTask:
    """Symmetric cross-entropy over the global batch's similarities (CLIP, arXiv 2103.00020, figure 3).

    Args:
        train, validation: pairs on the device.
        batch_size: global.
        save: writes a model into a folder.
        ranks: (rank, world size).

    Raises:
        ValueError: a batch would hold a picture twice, which the loss would count as two.
    """

    def __init__(
        self,
        train: Pairs,
        validation: Pairs,
        batch_size: int,
        seed: int,
        save: Callable[[Any, Path], None],
        ranks: tuple[int, int],
    ):
        if batch_size > len(train):
            raise ValueError(
                f"loop.batch_size={batch_size} is more than the {len(train)} pictures to train on: a batch would hold "
                "some twice and count them as each other's negatives"
            )
        self.train, self.validation, self.save = train, validation, save
        self.better: dict[str, Better] = {**BETTER, **dict.fromkeys(validation.measured, "higher")}
        self.order = EpochOrder(len(train), batch_size, seed)
        rank, world_size = ranks
        self.clip_loss = ClipLoss(gather_with_grad=True, rank=rank, world_size=world_size)

    def loss(self, model: Any, random: StepRandom) -> dict[str, Tensor]:
        rows = self.order.batch(random.step)[random.rows].to(self.train.first.device)
        images, texts = self.train.draw(rows, random)
        with torch.no_grad():  # on the parameter itself: clamping its use would leave it without a gradient there
            getattr(model, "module", model).logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        image_rows, text_rows, scale = model(images, texts)
        return {"loss": self.clip_loss(image_rows.float(), text_rows.float(), scale), "logit_scale": scale}

    def evaluate(self, model: Any) -> Evaluation:
        return Evaluation(measure(model, self.validation))


def measure(model: Any, pairs: Pairs) -> dict[str, float]:
    """Retrieval among the pairs in both directions, and the geometry of the two modalities.

    `retrieval_error` is 1 - the mean of the six recalls. `centred_cosine` is
    the pairs' cosine after each modality's mean over these pairs is subtracted.
    """
    images, texts = (F.normalize(rows.float(), dim=-1) for rows in pairs.encode(model))
    embeddings = (images, texts, pairs.owner)
    both = {"image_to_text": image_to_text(*embeddings), "text_to_image": text_to_image(*embeddings)}
    recalls = [value for way in both.values() for name, value in way.to_dict().items() if name.startswith("recall")]
    centered_images, centered_texts = (F.normalize(rows - rows.mean(0), dim=-1) for rows in (images, texts))
    return {
        **{f"{way}_{name}": value for way, scores in both.items() for name, value in scores.to_dict().items()},
        "retrieval_error": 1 - sum(recalls) / len(recalls),
        "paired_cosine": paired_cosine(*embeddings),
        "centred_cosine": paired_cosine(centered_images, centered_texts, pairs.owner),
        "centroid_distance": centroid_distance(images, texts),
        **pairs.measures(model, images, texts),
    }
