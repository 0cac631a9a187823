"""The painters by the `kind` of their configs."""

from __future__ import annotations

from omegaconf import DictConfig

from common.plain import plain
from common.registry import look_up
from synthetic_images.demo_painter import DemoPainter
from synthetic_images.painter import Painter
from synthetic_images.retrieval import RetrievalPainter
from synthetic_images.stable_diffusion import StableDiffusionPainter

PAINTERS: dict[str, type[Painter]] = {
    "demo_world": DemoPainter,
    "retrieval": RetrievalPainter,
    "stable_diffusion": StableDiffusionPainter,
}


def load_painter(config: DictConfig) -> Painter:
    """The painter of `configs/synthesize_images.yaml`.

    Raises:
        ValueError: the kind or an option is unknown, or an option is out of its range.
        ImportError: what the painter draws with is not installed.
    """
    options = plain(config.painter)
    kind = look_up(options.pop("kind"), PAINTERS, "kind of painter", "painter.kind")
    del options["name"]
    return kind.from_config(options, config)
