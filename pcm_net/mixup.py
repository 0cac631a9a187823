"""Patch-wise cross-modal feature mix-up: which patches of an image give way to words, and to which."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.checks import Count, Positive, Whole, checked_dataclass
from embedding_space.patch_tokens import PatchTokens

IMAGES_AT_ONCE = 1024  # by `select`


@checked_dataclass("mixup.")
class MixupOptions:
    """How patches are mixed up with concepts.

    Attributes:
        concepts: K, the salient concepts of an image (paper: 5).
        pairs: M, how many (patch, concept) pairs with the highest similarity select their patches (5). The paper calls
            them patches; its code takes pairs, so that one to M different patches are selected. 0: no mix-up.
        temperature: of the softmax over an image's concepts (0.01; the paper leaves it open).
    """

    concepts: Count = 5
    pairs: Whole = 5
    temperature: Positive = 0.01


class MixedPatches(NamedTuple):
    """What the mix-up says about B images of N patches."""

    text_map: Tensor  # (B, N, D) float32: each patch as a mean of its image's concepts
    selected: Tensor  # (B, N) bool: the patches that give way
    salient: Tensor  # (B, K) int64: the images' concepts, the most similar first


class PatchMixup(nn.Module):
    """PCM-Net's mix-up (Luo et al. 2024, section 3.2, equations 1 to 3).

    Args:
        count: C, the concepts of the vocabulary.
        dim: D of the joint space.
        options: see `MixupOptions`.

    Attributes:
        concepts: (C, D) float32 unit rows: the vocabulary's text embeddings. Zero until they are set or loaded.
    """

    concepts: Tensor

    def __init__(self, count: int, dim: int, options: MixupOptions):
        super().__init__()
        if count < options.concepts:
            raise ValueError(
                f"mixup.concepts={options.concepts} is more than the vocabulary's {count} concepts: lower it, or give "
                "a longer list with concepts.count or concepts.file"
            )
        self.options = options
        self.register_buffer("concepts", torch.zeros(count, dim))

    @torch.no_grad()
    def forward(self, images: Tensor, patches: Tensor) -> MixedPatches:
        """Mix up B images.

        Args:
            images: (B, D) raw global rows.
            patches: (B, N, D) rows of the patches in the joint space.
        """
        options = self.options
        with torch.autocast(images.device.type, enabled=False):  # similarities divided by 0.01 need float32
            salient, concepts, affinity = self._affinity(images, patches)
            text_map = (affinity / options.temperature).softmax(dim=-1) @ concepts  # equation 3
            pairs = affinity.flatten(1).topk(min(options.pairs, affinity[0].numel())).indices  # (B, M)
            selected = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
            selected.scatter_(1, pairs // options.concepts, True)
        return MixedPatches(text_map, selected, salient)

    @torch.no_grad()
    def heat(self, images: Tensor, patches: Tensor | PatchTokens) -> Tensor:
        """(N, P) float32 on the CPU: each patch's cosine to that of its image's concepts that it is most like.

        Args:
            images: (N, D) raw global rows.
            patches: (N, P, D) rows of the patches in the joint space, in memory or on disk.
        """
        parts, device = [], self.concepts.device
        with torch.autocast(device.type, enabled=False):
            for rows in torch.arange(len(images)).split(IMAGES_AT_ONCE):
                affinity = self._affinity(images[rows].to(device), patches[rows].to(device))[2]
                parts.append(affinity.amax(dim=-1).cpu())
        return torch.cat(parts)

    def _affinity(self, images: Tensor, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of B images: the concepts' numbers (B, K) and rows (B, K, D), and the patches' cosines to them (B, N, K)."""
        images, patches = F.normalize(images.float(), dim=-1), F.normalize(patches.float(), dim=-1)
        salient = (images @ self.concepts.T).topk(self.options.concepts).indices  # equation 1
        concepts = self.concepts[salient]
        return salient, concepts, patches @ concepts.transpose(1, 2)  # equation 2

    def select(self, images: Tensor, patches: Tensor | PatchTokens) -> MixedPatches:
        """Mix up N images in parts: as `forward`, on the CPU and without the text maps, which would fill the memory.

        Args:
            images: (N, D) raw global rows.
            patches: (N, P, D) rows of the patches, in memory or on disk.
        """
        parts, device = [], self.concepts.device
        for rows in torch.arange(len(images)).split(IMAGES_AT_ONCE):
            mixed = self(images[rows].to(device), patches[rows].to(device))
            parts.append(MixedPatches(mixed.text_map[:, :, :0].cpu(), mixed.selected.cpu(), mixed.salient.cpu()))
        return MixedPatches(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
