"""The CLIP-weighted cross-entropy loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def clip_weights(images: Tensor, texts: Tensor, scale: float) -> Tensor:
    """(B,) weights of captions in the loss: min(1, w cos(image, text)), at least 0 (Luo et al. 2024, equation 11).

    Args:
        images, texts: (B, D) raw rows of the pairs.
        scale: w, positive; 4.0 for CLIP ViT-L/14, 2.5 for ViT-B/32 in the authors' configurations.
    """
    return (scale * F.cosine_similarity(images.float(), texts.float(), dim=-1)).clamp(0.0, 1.0)


def spread_over_others(label_smoothing: float, vocabulary: int) -> float:
    """The `label_smoothing` of torch that leaves 1 - `label_smoothing` on the right token, as the authors' loss does.

    torch spreads the rest over all tokens, the right one included.
    """
    return label_smoothing * vocabulary / (vocabulary - 1)
