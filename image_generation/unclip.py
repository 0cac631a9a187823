"""Pictures from image embeddings by diffusers' unCLIP pipeline (Karlo), which needs no training.

The conditional encoder-decoder's paper draws translated texts by it (section 5.2).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from alignment.chain import Alignment
from alignment.steps import Center
from common.characters import one_line
from common.device import best_device

EXTRA = 'pip install -e ".[generation]"'


def pipeline_class() -> Any:
    """The class `UnCLIPImageVariationPipeline` of diffusers.

    Raises:
        ImportError: diffusers is not installed.
    """
    try:
        from diffusers import UnCLIPImageVariationPipeline, pipelines  # pyright: ignore[reportPrivateImportUsage]
    except ImportError as error:
        raise ImportError(f"Generating images needs diffusers, which cannot be imported ({error}): {EXTRA}") from error
    # Karlo's files name the module pipelines.unclip, which newer versions keep elsewhere and then do not find.
    if not hasattr(pipelines, "unclip"):
        package = sys.modules[UnCLIPImageVariationPipeline.__module__.rpartition(".")[0]]
        pipelines.unclip = package  # pyright: ignore[reportAttributeAccessIssue]
    return UnCLIPImageVariationPipeline


class ImageDecoder:
    """An unCLIP decoder with its super-resolution: image embeddings -> pictures.

    Args:
        weights: a folder of diffusers' `UnCLIPImageVariationPipeline`, or its name on the Hub, such as
            kakaobrain/karlo-v1-alpha-image-variations.
        device: where it runs; by default the GPU if any.

    Raises:
        ImportError: diffusers is not installed.
        FileNotFoundError: the weights cannot be loaded.
    """

    def __init__(self, weights: str, device: str | None = None):
        kind = pipeline_class()
        try:
            self.pipeline = kind.from_pretrained(weights)
        except Exception as error:  # offline, unknown and damaged all come here
            reason = one_line(error)
            raise FileNotFoundError(
                f"weights={weights} is no unCLIP pipeline that can be loaded ({reason}): where there is a network, run "
                "`hf download kakaobrain/karlo-v1-alpha-image-variations --local-dir FOLDER`, and give weights=FOLDER"
            ) from error
        self.pipeline.to(device or best_device())

    @property
    def dim(self) -> int:
        """The width of the image embeddings that it reads."""
        return self.pipeline.image_encoder.config.projection_dim

    def check_width(self, dim: int) -> None:
        """Raise ValueError for embeddings of another width than it reads."""
        if dim != self.dim:
            raise ValueError(
                f"This decoder reads image embeddings of {self.dim} dimensions, and these have {dim}: translate into "
                "the space of the CLIP that it was trained with (Karlo: OpenAI's ViT-L/14, encoder=clip_vit_l14)"
            )

    @torch.no_grad()
    def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(B, D) float32 embeddings of pictures by the pipeline's own CLIP, not of unit length."""
        pixels = self.pipeline.feature_extractor(images=list(pictures), return_tensors="pt").pixel_values
        encoder = self.pipeline.image_encoder
        return encoder(pixels.to(encoder.device, encoder.dtype)).image_embeds.float().cpu()

    @torch.no_grad()
    def generate(
        self, rows: Tensor, length: float, seeds: Sequence[int], batch_size: int = 8, steps: int = 25,
        super_resolution_steps: int = 7, guidance_scale: float = 8.0,
    ) -> list[Image.Image]:  # fmt: skip
        """Unit rows (N, D), scaled to `length` -> N pictures. A picture's noise depends on its seed, not on batches.

        Raises:
            ValueError: rows of another width.
        """
        self.check_width(rows.shape[-1])
        pictures: list[Image.Image] = []
        encoder = self.pipeline.image_encoder
        for start in range(0, len(rows), batch_size):
            part = length * F.normalize(rows[start : start + batch_size].float(), dim=-1)
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[start : start + batch_size]]
            pictures += self.pipeline(
                image_embeddings=part.to(encoder.device, encoder.dtype),
                decoder_num_inference_steps=steps,
                super_res_num_inference_steps=super_resolution_steps,
                decoder_guidance_scale=guidance_scale,
                generator=generators,
            ).images
        return pictures


def as_image_embeddings(rows: Tensor, alignment: Alignment, images: Tensor) -> Tensor:
    """Aligned rows (N, D) -> unit rows (N, D) where the decoder expects embeddings of pictures.

    It was trained on embeddings as its CLIP makes them. Where the chain subtracts the images' mean, it is added again,
    to rows of the length that centered images have on average.

    Args:
        images: (M, D) unit rows of training images.
    """
    center = next((step for step in alignment.steps if isinstance(step, Center)), None)
    if center is None:
        return rows
    mean = center.training_mean.to(rows)
    length = (images.to(rows) - mean).norm(dim=-1).mean()
    return F.normalize(length * rows + mean, dim=-1)
