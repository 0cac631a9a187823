"""An autoencoder of diffusers, between pictures and the smaller latents that a generator may draw instead."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common.characters import one_line
from common.extras import require
from common.files import whole_file
from image_generation.pixels import to_unit_range


class Autoencoder:
    """A pretrained `AutoencoderKL`, frozen.

    Args:
        name: on the Hub, or a folder.
        device: where it runs.

    Attributes:
        factor: the side of a picture over that of its latents.
        planes: channels of latents.

    Raises:
        ImportError: diffusers is not installed.
        FileNotFoundError: its weights cannot be loaded.
    """

    def __init__(self, name: str, device: torch.device):
        require("diffusers")
        from diffusers import AutoencoderKL  # pyright: ignore[reportPrivateImportUsage]

        try:
            self.model: Any = AutoencoderKL.from_pretrained(name)
        except Exception as error:  # offline, unknown and damaged all come here
            raise FileNotFoundError(
                f"autoencoder={name} is no autoencoder of diffusers that can be loaded ({one_line(error)}): give a "
                "folder, a name on the Hub where there is a network, or null to draw pixels"
            ) from error
        self.model.to(device).eval().requires_grad_(False)
        config = self.model.config
        self.factor, self.planes = 2 ** (len(config.block_out_channels) - 1), config.latent_channels
        self._scale, self._shift = config.scaling_factor, getattr(config, "shift_factor", None) or 0.0

    @cached_property
    def hash(self) -> str:
        """SHA-256 of its weights."""
        digest = hashlib.sha256()
        for tensor in self.model.state_dict().values():
            digest.update(tensor.float().cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w) latents of about unit variance: the means, without noise."""
        latents = self.model.encode(pictures.to(self.model.device)).latent_dist.mode()
        return (latents - self._shift) * self._scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) latents -> (B, 3, H, W) pictures."""
        return self.model.decode(latents / self._scale + self._shift).sample

    def encode_all(self, pixels: np.ndarray, path: Path, batch_size: int = 16) -> np.ndarray:
        """(N, C, h, w) float16, memory-mapped: latents of pixels (N, H, W, 3), made once and kept in `path`."""
        side = pixels.shape[1] // self.factor
        if not path.exists():
            with whole_file(path) as temporary:
                shape = (len(pixels), self.planes, side, side)
                array = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
                for start in tqdm(range(0, len(pixels), batch_size), "encode latents", unit="batch"):
                    part = to_unit_range(torch.from_numpy(pixels[start : start + batch_size]))
                    array[start : start + batch_size] = self.encode(part).half().cpu().numpy()
                array.flush()
        return np.load(path, mmap_mode="r", allow_pickle=False)
