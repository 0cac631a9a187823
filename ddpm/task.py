"""What the training loop needs of a text diffusion model: its loss, its validation metrics, its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpm.diffusion import TextDiffusion
from training.batches import EpochOrder, StepRandom
from training.kept_weights import Better
from training.loop import Evaluation

GRID = 10  # timesteps at which the validation loss is taken
COSINE_AT = (0.2, 0.4, 0.6)  # of the noising chain


class DiffusionTask:
    """Trains on text rows only and is evaluated on other texts.

    Args:
        rows: (M, D) text embeddings on the device, float16 or float32.
        validation_rows: (V, D), likewise.
        order: the rows of each step's batch.
        timesteps: of the model's noising chain.
        prepare: maps rows to the unit rows that the model trains on (its prefix); by default they are these already.
    """

    def __init__(
        self,
        rows: Tensor,
        validation_rows: Tensor,
        order: EpochOrder,
        timesteps: int,
        prepare: Callable[[Tensor], Tensor] = Tensor.float,
    ):
        self.rows, self.order, self.timesteps, self.prepare = rows, order, timesteps, prepare
        self.validation_rows = prepare(validation_rows)
        # The same noise at every evaluation, so that metrics differ by the weights only.
        noise = torch.randn(validation_rows.shape, generator=torch.Generator().manual_seed(0))
        self.validation_noise = noise.to(self.validation_rows)
        times = [int(fraction * timesteps) for fraction in COSINE_AT]
        self._cosine_at = {f"cosine_t{time}": time for time in times}
        self.better: dict[str, Better] = {"validation_loss": "lower", **dict.fromkeys(self._cosine_at, "higher")}

    def loss(self, model: torch.nn.Module, random: StepRandom) -> dict[str, Tensor]:
        batch = self.order.batch(random.step)[random.rows].to(self.rows.device)
        rows = self.prepare(self.rows[batch])
        times = random.integers(self.timesteps)
        return {"loss": model(rows, times, random.normal_like(rows)).mean()}

    def evaluate(self, model: TextDiffusion) -> Evaluation:
        """Metrics of the validation rows.

        `validation_loss` is weighted as in training and averaged over a grid of timesteps. `cosine_t<t>` is the mean
        cosine between rows and their versions that were noised to t and denoised in one step.
        """
        rows, noise, total = self.validation_rows, self.validation_noise, self.timesteps
        losses = []
        for part in range(GRID):
            times = torch.full((len(rows),), (2 * part + 1) * total // (2 * GRID), device=rows.device)
            losses.append(model(rows, times, noise).mean())
        metrics = {"validation_loss": torch.stack(losses).mean().item()}
        for name, time in self._cosine_at.items():
            denoised = model.ddim_step(model.add_noise(rows, time, noise), time, -1)
            metrics[name] = F.cosine_similarity(denoised, rows, dim=-1).mean().item()
        return Evaluation(metrics)

    def save(self, model: TextDiffusion, folder: Path) -> None:
        model.save_pretrained(folder)
