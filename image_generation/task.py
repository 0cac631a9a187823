"""What the training loop needs of an image generator: its loss, its validation metrics, pictures to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from alignment.chain import Alignment, in_parts
from image_generation.contact_sheet import contact_sheet
from image_generation.flow import LogitNormal, Sampling
from image_generation.generator import ImageGenerator
from image_generation.pixels import to_unit_range
from training.batches import EpochOrder, StepRandom
from training.kept_weights import Better
from training.loop import Evaluation

GRID = 8  # times at which the validation loss is taken
SEED = 0  # of validation noise and sample pictures


class PictureRows(Protocol):
    """An array of pictures, or some rows of one."""

    def __getitem__(self, numbers: np.ndarray, /) -> np.ndarray: ...


class Pictures:
    """Training or validation pictures with their embeddings.

    Args:
        array: (N, H, W, 3) uint8 pixels, or (N, C, h, w) float16 latents; may be memory-mapped.
        rows: (N, D) raw image embeddings, on the device.
        mirror: each use of a picture turns it left to right with chance 1/2. Its embedding stays.
    """

    def __init__(self, array: PictureRows, rows: Tensor, mirror: bool = False):
        self.array, self.rows, self.mirror = array, rows, mirror

    def __len__(self) -> int:
        return len(self.rows)

    def clean(self, numbers: Tensor) -> Tensor:
        """(B, C, S, S) float32 on the device: pictures in [-1, 1], or latents."""
        order = numbers.argsort()  # a disk is read in order
        part = torch.from_numpy(np.ascontiguousarray(self.array[numbers[order].numpy()]))[order.argsort()]
        part = part.to(self.rows.device, non_blocking=True)
        return to_unit_range(part) if part.dtype == torch.uint8 else part.float()


class GenerationTask:
    """Trains on pictures and their own embeddings; nothing here reads a caption.

    Args:
        pictures: those to train on.
        validation: others.
        alignment: whose training side the embeddings go through.
        order: the pictures of each step's batch.
        drop_condition: share of the rows that give way to zeros, so that the network learns to draw without one, too.
        times: where on the way to noise it trains.
        samples: (S, D) aligned rows of sentences that are drawn at every evaluation, or None.
        sampling: how they are drawn.
        samples_path: the file that they are written to.
    """

    better: Mapping[str, Better] = {"validation_loss": "lower"}

    def __init__(
        self,
        pictures: Pictures,
        validation: Pictures,
        alignment: Alignment,
        order: EpochOrder,
        drop_condition: float,
        times: LogitNormal,
        samples: Tensor | None = None,
        sampling: Sampling | None = None,
        samples_path: Path = Path("samples.png"),
    ):
        self.pictures, self.validation, self.alignment, self.order = pictures, validation, alignment, order
        self.drop_condition, self.times = drop_condition, times
        self.samples, self.sampling, self.samples_path = samples, sampling, samples_path

    def loss(self, model: nn.Module, random: StepRandom) -> dict[str, Tensor]:
        numbers = self.order.batch(random.step)[random.rows]
        device = self.pictures.rows.device
        clean = self.pictures.clean(numbers)
        rows = self.alignment.training_side(self.pictures.rows[numbers.to(device)].float(), random.normal_like)
        noise = random.normal_like(clean)
        times = self.times.draw(random.normal_like(clean[:, 0, 0, 0]))
        kept = random.integers(1_000_000) >= round(1_000_000 * self.drop_condition)
        if self.pictures.mirror:
            turned = random.integers(2).bool().view(-1, 1, 1, 1)
            clean = torch.where(turned, clean.flip(-1), clean)
        return {"loss": model(clean, rows * kept[:, None], times, noise).mean()}

    @torch.no_grad()
    def evaluate(self, model: ImageGenerator) -> Evaluation:
        """`validation_loss`, the mean over a grid of times with the same noise each time; and sample pictures."""
        rows = in_parts(self.alignment.clean_side, self.validation.rows.float())
        generator = torch.Generator().manual_seed(SEED)
        losses = []
        for numbers in torch.arange(len(rows)).split(self.order.batch_size):
            clean = self.validation.clean(numbers)
            noise = torch.randn(clean.shape, generator=generator).to(clean)
            times = ((numbers % GRID) + 0.5) / GRID
            losses.append(model(clean, rows[numbers.to(rows.device)], times.to(clean), noise))
        if self.samples is not None:
            seeds = range(SEED, SEED + len(self.samples))
            contact_sheet(model.generate(self.samples, seeds, self.sampling, precision=None)).save(self.samples_path)
        return Evaluation({"validation_loss": torch.cat(losses).mean().item()})

    def save(self, model: ImageGenerator, folder: Path) -> None:
        model.save_pretrained(folder)
