"""How the bridge's settings move images towards their texts."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from ddpm.bridge import reverse_diffusion
from ddpm.diffusion import TextDiffusion
from evaluation.embeddings.retrieval import paired_cosine


def bridged_cosines(
    diffusion: TextDiffusion, images: Tensor, texts: Tensor, image_row: Tensor, timesteps: Iterable[int], steps: int
) -> list[float]:
    """Mean cosine of bridged images to their texts, for each injection timestep.

    images (N, D), texts (M, D): rows after the diffusion model's prefix; image_row (M,): each text's image. An
    injection below `steps` is bridged in as many steps as it has.
    """
    return [
        paired_cosine(reverse_diffusion(diffusion, images, timestep, min(steps, timestep)), texts, image_row)
        for timestep in timesteps
    ]
