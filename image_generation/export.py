"""Copy a trained image generator into a folder to share: half-size weights and a manifest.

The work behind `scripts/export.py`, for generators.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig

from common.config import drop_nulls
from common.files import file_sha256, write_json
from common.paths import PRETRAINED
from common.provenance import run_facts
from evaluation.pictures.result import GenerationResult
from image_captioning.export import check_finished, check_target, halve, print_size, self_contained
from image_generation.generator import KIND, ImageGenerator


def is_generator(checkpoint: str | Path) -> bool:
    """Whether a run folder, or a name in `pretrained/`, holds an image generator."""
    for folder in (Path(checkpoint), PRETRAINED / checkpoint):
        try:
            return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("kind") == KIND
        except (OSError, ValueError, AttributeError):  # loading it will say what is wrong
            continue
    return False


def export_generator(config: DictConfig) -> Path:
    """Export as `configs/export.yaml` says; returns the folder.

    The weights and a memory of images become float16; other buffers stay float32.

    Raises:
        FileNotFoundError: no generator to load, or no evaluation of it.
        ValueError: they do not belong together, the training is not finished, or the folder holds a model already.
    """
    to = Path(config.to)
    check_target(to, config.overwrite)
    if image_side := drop_nulls(config.image_side):
        option = f"image_side.{next(iter(image_side))}"
        raise ValueError(f"{option} is of captioners, and {config.checkpoint} draws pictures: leave it out")
    described = [f"card.{name}" for name, value in config.card.items() if value]
    if described := described + ["card_only"] * config.card_only:
        raise ValueError(f"{described[0]} is of captioners, and {config.checkpoint} draws pictures: leave it out")
    generator = ImageGenerator.load(config.checkpoint).cpu()
    check_finished(cast(Path, generator.folder))
    sha256 = file_sha256(cast(Path, generator.folder) / "model.safetensors")
    scores = _scores(config, sha256) if config.evaluation else None
    generator.alignment = self_contained(generator.alignment)
    halve(generator)
    generator.save_pretrained(to)
    manifest = run_facts() | {
        "checkpoint": str(config.checkpoint),
        "encoder": generator.encoder_description,
        "provenance": generator.provenance,
        "sha256": file_sha256(to / "model.safetensors"),
        "scores": scores,
    }
    write_json(to / "manifest.json", manifest)
    print_size(generator, to)
    return to


def _scores(config: DictConfig, sha256: str) -> dict[str, Any]:
    """The scores of this generator's evaluation. Raises as `export_generator`."""
    path = Path(config.evaluation) / "scores.json"
    again = f"run python scripts/eval_generation.py checkpoint={config.checkpoint} output_dir={config.evaluation}"
    if not path.exists():
        raise FileNotFoundError(f"No scores.json in evaluation={config.evaluation}: {again}")
    scores = GenerationResult.from_json(json.loads(path.read_text(encoding="utf-8")))
    if scores.generation.get("generator") != sha256:
        raise ValueError(
            f"evaluation={config.evaluation} is not of the generator in checkpoint={config.checkpoint}: {again} "
            "overwrite=true, or leave it out"
        )
    return scores.to_json()
