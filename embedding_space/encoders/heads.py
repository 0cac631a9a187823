"""Small heads that map two frozen towers' features into one space, and the folder that holds them."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.checkpoint import load_checkpoint, save_checkpoint


class ProjectionHead(nn.Module):
    """(B, F) features -> (B, D): a linear map, an MLP with one hidden layer, or the sum of both.

    Args:
        features: F.
        dim: D.
        linear: whether there is the linear branch.
        hidden: width of the MLP's hidden layer; null for no MLP.
        dropout: share of the hidden layer's values that training drops.
        input_dropout: share of the features that training drops.
        standardise: whether features are first standardized by the mean and deviation that `standardise_on` measured.

    Raises:
        ValueError: there is neither branch.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: int,
        dim: int,
        linear: bool = True,
        hidden: int | None = None,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        standardise: bool = True,
    ):
        super().__init__()
        if not linear and hidden is None:
            raise ValueError("A head with linear=false and hidden=null would do nothing: give it one of them")
        self.input_dropout = nn.Dropout(input_dropout)
        self.linear = nn.Linear(features, dim) if linear else None
        self.mlp = None
        if hidden is not None:
            layers = nn.Linear(features, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
            self.mlp = nn.Sequential(*layers)
        if standardise:
            self.register_buffer("mean", torch.zeros(features))
            self.register_buffer("std", torch.ones(features))
        self.standardise = standardise

    def forward(self, rows: Tensor) -> Tensor:
        if self.standardise:
            rows = (rows - self.mean) / self.std
        rows = self.input_dropout(rows)
        branches = [branch(rows) for branch in (self.linear, self.mlp) if branch is not None]
        return reduce(torch.add, branches)

    @torch.no_grad()
    def standardise_on(self, rows: Tensor) -> None:
        """Keep mean and deviation of training features (N, F); a constant feature is only centered."""
        if self.standardise:
            std, mean = torch.std_mean(rows.float(), dim=0, correction=0)
            self.mean.copy_(mean)
            self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    @torch.no_grad()
    def start_in_cone(self, rows: Tensor, direction: Tensor, offset: float) -> None:
        """Set the bias so that the outputs of training features (N, F) scatter around offset x r x `direction` (D,).

        `direction` is a unit vector, and r the outputs' root-mean-square distance from their mean. Their unit rows then
        have a mean cosine of about offset^2 / (1 + offset^2) with one another, as in a cone around `direction`.
        """
        training = self.training
        outputs = self.eval()(rows)
        self.train(training)
        mean = outputs.mean(0)
        spread = (outputs - mean).square().sum(1).mean().sqrt()
        last = self.linear if self.mlp is None else self.linear or self.mlp[-1]
        assert isinstance(last, nn.Linear)
        last.bias += offset * spread * direction - mean


class TowerHeads(nn.Module):
    """Two heads and the temperature of their contrastive loss; the towers are described, not included.

    Args:
        dim: D of the joint space.
        image_head, text_head: `ProjectionHead`'s options, `features` among them.
        image_tower, text_tower: the towers' `description`s, with their weights' hashes.
        logit_scale: the start of the learned log of the loss's scale.
        mirror: whether a picture's row is the mean of its own and its mirror image's unit rows.
    """

    def __init__(
        self,
        dim: int,
        image_head: dict,
        text_head: dict,
        image_tower: dict,
        text_tower: dict,
        logit_scale: float,
        mirror: bool = False,
    ):
        super().__init__()
        self.config = {
            "dim": dim,
            "image_head": image_head,
            "text_head": text_head,
            "image_tower": image_tower,
            "text_tower": text_tower,
            "logit_scale": logit_scale,
            "mirror": mirror,
        }
        self.image_head = ProjectionHead(dim=dim, **image_head)
        self.text_head = ProjectionHead(dim=dim, **text_head)
        self.logit_scale = nn.Parameter(torch.tensor(float(logit_scale)))

    def encode_image(self, features: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """(N, F) features of pictures, and of their mirror images if `mirror` -> (N, D), not yet of unit length."""
        rows = self.image_head(features)
        if mirrored is None:
            return rows
        return F.normalize(rows, dim=-1) + F.normalize(self.image_head(mirrored), dim=-1)

    def encode_text(self, features: Tensor) -> Tensor:
        """(M, F') features of sentences -> (M, D), not yet of unit length."""
        return self.text_head(features)

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of pairs -> their unit rows (B, D) twice, and the scale of the logits; as open_clip's models."""
        images, texts = self.encode_image(images), self.encode_text(texts)
        return F.normalize(images, dim=-1), F.normalize(texts, dim=-1), self.logit_scale.exp()

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`: matrices and biases in float16, statistics in float32."""
        save_checkpoint(self, self.config, folder)

    @classmethod
    def load(cls, folder: str | Path) -> TowerHeads:
        """Read back what `save` wrote, strictly; in evaluation mode.

        Raises:
            MissingModel: a file is missing.
            DamagedModel: a file is damaged or belongs to another kind of model.
        """
        return load_checkpoint(cls, folder, "heads", "contrastive").requires_grad_(False)
