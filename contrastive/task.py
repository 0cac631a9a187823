"""The contrastive objective as a Task of the training loop."""

from __future__ import annotations

import math
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from torch import Tensor, nn

from contrastive.checkpoint import save_open_clip
from contrastive.data import Pairs, shift
from evaluation.retrieval import centroid_distance, image_to_text, paired_cosine, text_to_image
from training.loop import Evaluation
from training.random import EpochOrder, StepRandom

MAX_LOGIT_SCALE = math.log(100.0)  # as in CLIP (arXiv 2103.00020, section 2.5)


class ContrastiveTask:
    """Symmetric cross-entropy over the global batch's similarities (CLIP, arXiv 2103.00020, figure 3).

    Args:
        train, validation: pairs on the device.
        batch_size: global.
        shift_pixels: pictures are moved by up to so many pixels each way.
        preprocess: JSON of open_clip's preprocessing, with `mean` and `std`.
        tokenizer: saved with the model.
        ranks: (rank, world size).
    """

    def __init__(self, train: Pairs, validation: Pairs, batch_size, seed, shift_pixels, preprocess, tokenizer, ranks):
        self.train, self.validation = train, validation
        self.order = EpochOrder(len(train.pictures), batch_size, seed)
        self.shift_pixels, self.preprocess, self.tokenizer = shift_pixels, preprocess, tokenizer
        rank, world_size = ranks
        self.clip_loss = ClipLoss(gather_with_grad=True, rank=rank, world_size=world_size)

    def loss(self, model: nn.Module, random: StepRandom) -> dict[str, Tensor]:
        pairs = self.train
        rows = self.order.batch(random.step)[random.rows].to(pairs.pictures.device)
        pictures = pairs.pictures[rows]
        if self.shift_pixels:
            dx, dy = (random.integers(2 * self.shift_pixels + 1) - self.shift_pixels for _ in range(2))
            pictures = shift(pictures, dx, dy)
        choice = random.integers(2**31) % (pairs.first[rows + 1] - pairs.first[rows])
        tokens = pairs.tokens[pairs.first[rows] + choice]
        with torch.no_grad():  # on the parameter itself: clamping its use would leave it without a gradient there
            _unwrapped(model).logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        image_features, text_features, scale = model(self._normalized(pictures), tokens)
        loss = self.clip_loss(image_features.float(), text_features.float(), scale)
        return {"loss": loss, "logit_scale": scale}

    def _normalized(self, pictures: Tensor) -> Tensor:
        mean, std = (torch.tensor(self.preprocess[key], device=pictures.device) for key in ("mean", "std"))
        return (pictures.float() / 255 - mean[:, None, None]) / std[:, None, None]

    def evaluate(self, model: open_clip.CLIP) -> Evaluation:
        pairs = self.validation
        images = torch.cat([model.encode_image(self._normalized(part)).float() for part in pairs.pictures.split(256)])
        texts = torch.cat([model.encode_text(part).float() for part in pairs.tokens.split(1024)])
        images, texts = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
        embeddings = (images, texts, pairs.owner)
        figures = {
            **{f"image_to_text_{name}": value for name, value in image_to_text(*embeddings).to_dict().items()},
            **{f"text_to_image_{name}": value for name, value in text_to_image(*embeddings).to_dict().items()},
            "paired_cosine": paired_cosine(*embeddings),
            "centroid_distance": centroid_distance(images, texts),
        }
        return Evaluation(figures)

    def save(self, model: open_clip.CLIP, folder: Path) -> None:
        save_open_clip(model, self.preprocess, self.tokenizer, folder)


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if hasattr(model, "module") else model
