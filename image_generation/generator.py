"""ImageGenerator: pictures from aligned embeddings by a rectified flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from alignment.chain import Alignment, in_parts
from common.checkpoint import load_checkpoint
from common.device import autocast, best_device, choose_precision
from common.paths import PRETRAINED
from image_captioning.alignments import STEPS
from image_captioning.hub import find_hub_folder
from image_generation.autoencoder import Autoencoder
from image_generation.flow import Sampling, at_time, guided, integrate
from image_generation.network import NetworkOptions, RowConditionedUNet
from image_generation.pixels import to_pixels

KIND = "image_generator"  # in config.json, by which a checkpoint is known
WHAT = "image generator"
LEAST_TIME = 0.05  # by which a predicted picture's difference to the state is divided, at least (arXiv 2511.13720)
MODEL_CARD = """---
{{ card_data }}
---

Draws pictures from embeddings of sentences, trained on pictures alone by `python -m image_generation.train`. Load it
with `image_generation.generator.ImageGenerator.load(folder)`.
"""


class ImageGenerator(nn.Module, PyTorchModelHubMixin, model_card_template=MODEL_CARD):
    """A flow that learns to draw a picture from the picture's own embedding, behind an alignment.

    At inference it is given a sentence's embedding through the alignment's inference side: C³'s image generation (arXiv
    2401.08567), with a flow in the place of LAFITE's GAN. Arguments are JSON values: a checkpoint can be rebuilt.

    Args:
        dim: D of the embeddings.
        size: side of the pictures in pixels.
        network: see `NetworkOptions`.
        alignment: entries of the chain whose training side images go through.
        encoder: the description of the embeddings' encoder, so that sentences can be encoded alike.
        planes, factor: of the autoencoder: channels of latents, and a picture's side over theirs; 3 and 1 without one.
        autoencoder: its name or folder; None to draw pixels.
        predicts: what the network gives, the picture or the velocity; the loss is that of the velocity. Pictures are
            few among all arrays of pixels, so that a narrow network over large patches can give them, and not the
            noise that is in a velocity (arXiv 2511.13720).
        provenance: what it was trained on, for results to repeat.
        kind: `KIND`.

    Attributes:
        folder: where `load` found it, else None.
    """

    folder: Path | None = None

    def __init__(
        self,
        dim: int,
        size: int,
        network: Mapping,
        alignment: Sequence[Mapping],
        encoder: Mapping,
        planes: int = 3,
        factor: int = 1,
        autoencoder: str | None = None,
        predicts: Literal["picture", "velocity"] = "velocity",
        provenance: Mapping | None = None,
        kind: str = KIND,
    ):
        super().__init__()
        if kind != KIND:
            raise ValueError(f"it is a {kind}, not an {KIND}")
        if predicts not in ("picture", "velocity"):
            raise ValueError(f"predicts={predicts!r} must be picture or velocity")
        self.dim, self.size, self.side, self.planes = dim, size, size // factor, planes
        self.autoencoder_name, self.predicts, self.network_options = autoencoder, predicts, dict(network)
        self.encoder_description, self.provenance = dict(encoder), dict(provenance or {})
        self.alignment = Alignment.from_options(alignment, STEPS)
        self.network = RowConditionedUNet(dim, planes, self.side, NetworkOptions(**network))

    def train(self, mode: bool = True) -> ImageGenerator:
        """As nn.Module's, except that the alignment, which is part of the data, never trains."""
        super().train(mode)
        self.alignment.eval()
        return self

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @cached_property
    def autoencoder(self) -> Autoencoder | None:
        """The autoencoder whose latents are drawn, loaded when it is first needed."""
        return None if self.autoencoder_name is None else Autoencoder(self.autoencoder_name, self.device)

    def forward(self, clean: Tensor, rows: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Losses (B,): mean squared errors of the velocities.

        Args:
            clean: (B, C, S, S) pictures in [-1, 1], or latents.
            rows: (B, D) aligned rows; zero rows for none.
            times: (B,) in [0, 1].
            noise: like `clean`, standard normal.
        """
        velocities, target = self.velocity(at_time(clean, noise, times), times, rows), noise - clean
        if self.predicts == "picture":  # the right picture gives this velocity, and no other
            target = target * (times / times.clamp(min=LEAST_TIME)).view(-1, 1, 1, 1)
        return (velocities - target).square().flatten(1).mean(dim=1)

    def velocity(self, states: Tensor, times: Tensor, rows: Tensor) -> Tensor:
        """Velocities like `states` (B, C, S, S), float32, at `times` (B,), for aligned rows (B, D)."""
        predicted = self.network(states, times, rows).float()
        if self.predicts == "velocity":
            return predicted
        return (states - predicted) / times.clamp(min=LEAST_TIME).view(-1, 1, 1, 1)

    def align(self, texts: Tensor) -> Tensor:
        """(N, D) text embeddings -> (N, D) aligned rows, on the generator's device."""
        if texts.ndim != 2 or texts.shape[1] != self.dim:
            raise ValueError(
                f"This generator reads rows (N, {self.dim}); got {tuple(texts.shape)}: use the encoder that it was "
                "trained with"
            )
        return in_parts(self.alignment.inference_side, texts.to(self.device))

    @torch.no_grad()
    def generate(
        self, rows: Tensor, seeds: Sequence[int], sampling: Sampling | None = None, precision: str | None = "auto"
    ) -> Tensor:
        """Draw pictures, (N, size, size, 3) uint8 on the CPU.

        A picture depends on its row and seed; not on the others of its batch, rounding aside.

        Args:
            rows: (N, D) aligned rows.
            seeds: of the pictures' noise.
        """
        sampling = sampling or Sampling()
        rows = rows.to(self.device)
        chosen = choose_precision(precision, self.device)
        parts = []
        self.eval()
        for start in range(0, len(rows), sampling.batch_size):
            part = rows[start : start + sampling.batch_size]
            noise = self._noise(seeds[start : start + sampling.batch_size])
            with autocast(self.device, chosen):
                latents = integrate(
                    partial(self._guided_velocity, rows=part, guidance=sampling.guidance), noise, sampling
                )
                pictures = latents if self.autoencoder is None else self.autoencoder.decode(latents)
            parts.append(to_pixels(pictures).cpu())
        return torch.cat(parts) if parts else torch.zeros(0, self.size, self.size, 3, dtype=torch.uint8)

    def _guided_velocity(self, states: Tensor, times: Tensor, rows: Tensor, guidance: float) -> Tensor:
        if guidance == 1:
            return self.velocity(states, times, rows)
        both = self.velocity(states.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([rows, torch.zeros_like(rows)]))
        with_rows, without_rows = both.chunk(2)
        return guided(with_rows, without_rows, guidance)

    def _noise(self, seeds: Sequence[int]) -> Tensor:
        """(B, C, S, S), each picture's own, the same on every device."""
        shape = (self.planes, self.side, self.side)
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        return torch.stack(drawn).to(self.device)

    @classmethod
    def load(cls, checkpoint: str | Path) -> ImageGenerator:
        """The generator of a run folder, a name in pretrained/ or on the Hub, in evaluation mode on the best device.

        Raises:
            FileNotFoundError: there is none.
            ValueError: its files are damaged, or are not a generator's.
        """
        folder = PRETRAINED / checkpoint if (PRETRAINED / checkpoint / "config.json").exists() else Path(checkpoint)
        if not folder.exists() and str(checkpoint).count("/") == 1:  # perhaps a Hub id
            with suppress(FileNotFoundError):
                folder = find_hub_folder(str(checkpoint))
        model = load_checkpoint(cls, folder, WHAT, "image_generation")
        model.alignment.restore()
        model.folder = folder
        return model.to(best_device())
