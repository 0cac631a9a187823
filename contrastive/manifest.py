"""The manifest of a trained dual encoder: how to make the same weights again, and their metrics."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from common.files import file_sha256, write_json
from common.provenance import run_facts


def write_manifest(
    weights: Path, config: DictConfig, tables_hash: str, metrics: dict[str, float], report: dict[str, float] | None
) -> None:
    """`manifest.json` beside the file `weights`: command, seed, data, metrics and hash.

    Args:
        metrics: on validation data.
        report: metrics on `config.report_split`, which was used neither to train nor to choose the weights.
    """
    world = Path(config.dataset.root) / "world.json"  # exists if the data set is generated
    manifest = {
        **run_facts(),
        "seed": config.seed,
        "dataset": config.dataset.name,
        "tables_hash": tables_hash,
        "world_hash": json.loads(world.read_text())["world_hash"] if world.exists() else None,
        "uses_pairs": True,
        "pairs_split": config.dataset.pairs_split,
        "metrics_split": config.validation_split,
        "metrics": metrics,
        **({"report_split": config.report_split, "report_metrics": report} if report else {}),
        "sha256": file_sha256(weights),
    }
    write_json(weights.parent / "manifest.json", manifest)
