"""What PCM-Net reads of images: their aligned rows, their raw rows and their patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from embedding_space.patch_tokens import PatchTokens


@dataclass(frozen=True)
class PatchInputs:
    """N images; indexed and moved like a tensor.

    Patches that are left on disk (`PatchTokens`) are read when the inputs are indexed.

    Attributes:
        rows: (N, D) aligned rows, of images or, in training, of texts.
        images: (N, D) the images' raw rows, which their concepts are found by.
        patches: (N, P, D) patches in the joint space.
        features: (N, P, W) the patches as the image tower sees them.
    """

    rows: Tensor
    images: Tensor
    patches: Tensor | PatchTokens
    features: Tensor | PatchTokens

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | Tensor) -> PatchInputs:
        return PatchInputs(self.rows[rows], self.images[rows], self.patches[rows], self.features[rows])

    def to(self, device: torch.device) -> PatchInputs:
        patches, features = read(self.patches).to(device), read(self.features).to(device)
        return PatchInputs(self.rows.to(device), self.images.to(device), patches, features)


def read(grid: Tensor | PatchTokens) -> Tensor:
    """All patches as a tensor; those on disk are read."""
    return grid if isinstance(grid, Tensor) else grid[:]
