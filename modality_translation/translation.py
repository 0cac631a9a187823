"""Translation: both directions between two embedding spaces, as a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from common.checkpoint import load_checkpoint
from common.device import best_device
from modality_translation.models import DIRECTIONS, Direction, Sampling, build_direction
from modality_translation.pairs import PairedRows
from training.batches import StepRandom

ROWS_AT_ONCE = 8192
MODEL_CARD = """---
{{ card_data }}
---

Translates image embeddings into text embeddings and back (conditional encoder-decoder), trained on image-text pairs by
`python -m modality_translation.train`. Load it with `modality_translation.translation.load_translation(folder)`.
"""


class Translation(nn.Module, PyTorchModelHubMixin, model_card_template=MODEL_CARD):
    """Both directions, trained on pairs. Arguments are JSON values, so that a checkpoint can be rebuilt.

    Args:
        image_dim: of the images' space.
        text_dim: of the texts' space.
        model: `{"kind": "ced" or "mlp", **options}`, see `models`; each direction has its own.
        sampling: `Sampling`'s options, none of them null.
        directions: one or both of `image_to_text` and `text_to_image`.
        encoders: `{"images": description, "texts": description}` of the rows' encoders.
        provenance: the pairs (data set, split), seed and `uses_pairs`, for results to repeat.

    Raises:
        ValueError: values outside these.
    """

    def __init__(
        self,
        image_dim: int,
        text_dim: int,
        model: Mapping,
        sampling: Mapping | None = None,
        directions: Sequence[str] = DIRECTIONS,
        encoders: Mapping | None = None,
        provenance: Mapping | None = None,
    ):
        super().__init__()
        if not directions or set(directions) - set(DIRECTIONS) or len(set(directions)) < len(directions):
            raise ValueError(f"directions={list(directions)} must be among {', '.join(DIRECTIONS)}, each once")
        if unset := [name for name, value in (sampling or {}).items() if value is None]:
            raise ValueError(f"sampling.{unset[0]}=null: training needs a value; what was trained can be changed later")
        self.sampling = Sampling().changed(dict(sampling or {}))
        self.encoders, self.provenance = dict(encoders or {}), dict(provenance or {})
        self.dims = {"images": image_dim, "texts": text_dim}
        self.model_options = dict(model)
        built = {}
        for name in directions:
            source, target = sides(name)
            built[name] = build_direction(self.dims[target], self.dims[source], model, self.sampling)
        self.directions = cast(Mapping[str, Direction], nn.ModuleDict(built))

    def fit(self, pairs: PairedRows) -> None:
        """Before training on the same pairs, solve for what is not learned."""
        for name, direction in self.directions.items():
            direction.fit(*pairs.between(name))

    def forward(self, images: Tensor, texts: Tensor, random: StepRandom) -> dict[str, Tensor]:
        """Training losses of pairs of unit rows (B, D_images) and (B, D_texts): each direction's, and their sum."""
        rows = {"images": images, "texts": texts}
        losses: dict[str, Tensor] = {}
        for name, direction in self.directions.items():
            source, target = sides(name)
            parts = direction.losses(rows[source], rows[target], random)
            losses |= {f"{name}_{part}": value for part, value in parts.items()}
        return {"loss": torch.stack([losses[f"{name}_loss"] for name in self.directions]).sum(), **losses}

    def translate(self, rows: Tensor, direction: str, **sampling: Any) -> Tensor:
        """(N, C) unit rows of one space -> (N, D) unit rows of the other, float32, on the rows' device.

        Args:
            sampling: changes of the checkpoint's `Sampling`; None changes nothing.

        Raises:
            ValueError: an unknown direction, rows of another width, or bad options.
        """
        return self.translate_each(rows, direction, None, **sampling)[0]

    @torch.no_grad()
    def translate_each(
        self, rows: Tensor, direction: str, gammas: Sequence[float] | None, **sampling: Any
    ) -> list[Tensor]:
        """`translate` for each γ, by one run of the DDIM; None is the sampling's γ."""
        model, source = self._direction(direction), sides(direction)[0]
        if rows.ndim != 2 or rows.shape[1] != self.dims[source]:
            raise ValueError(
                f"{direction} translates rows of {self.dims[source]} dimensions, got {tuple(rows.shape)}: choose the "
                f"store of the encoder that it was trained with ({self.encoders.get(source, {}).get('name')})"
            )
        chosen, device = self.sampling.changed(sampling), next(self.parameters()).device
        with torch.autocast(device.type, enabled=False):
            parts = [
                model.translate_each(part.to(device).float(), chosen, gammas or [chosen.gamma])
                for part in rows.split(ROWS_AT_ONCE)
            ]
        return [torch.cat(each).to(rows.device) for each in zip(*parts, strict=True)]

    def _direction(self, name: str) -> Direction:
        if name not in self.directions:
            raise ValueError(f"This translation has no direction {name!r}, only {', '.join(self.directions)}")
        return self.directions[name]

    def options(self, direction: str) -> dict[str, Any]:
        """The JSON constructor values that rebuild a translation of this direction alone, tensors aside."""
        self._direction(direction)
        return {
            "image_dim": self.dims["images"],
            "text_dim": self.dims["texts"],
            "model": self.model_options,
            "sampling": asdict(self.sampling),
            "directions": [direction],
            "encoders": self.encoders,
            "provenance": self.provenance,
        }


def sides(direction: str) -> tuple[str, str]:
    """A direction's source and target, as stores call them: ("images", "texts") for image_to_text."""
    source, target = direction.split("_to_")
    return f"{source}s", f"{target}s"


def load_translation(folder: str | Path) -> Translation:
    """The translation in a run folder of modality_translation.train, in evaluation mode, on the GPU if any.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its files are damaged.
    """
    return load_checkpoint(Translation, folder, "translation", "modality_translation").to(best_device())
