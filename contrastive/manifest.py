"""The manifest of a trained dual encoder: what it takes to make the same weights again, and what they reach."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from omegaconf import DictConfig

from evaluation.facts import run_facts


def write_manifest(folder: str | Path, config: DictConfig, tables_hash: str, figures: dict[str, float]) -> None:
    """`manifest.json` beside the weights in `folder`: command, seed, data, validation figures, the weights' hash."""
    folder = Path(folder)
    world = Path(config.dataset.root) / "world.json"  # there if the data set is a generated one
    manifest = {
        **run_facts(),
        "seed": config.seed,
        "dataset": config.dataset.name,
        "tables_hash": tables_hash,
        "world_hash": json.loads(world.read_text())["world_hash"] if world.exists() else None,
        "uses_pairs": True,
        "metrics_split": config.validation_split,
        "metrics": figures,
        "sha256": hashlib.sha256((folder / "open_clip_model.safetensors").read_bytes()).hexdigest(),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
