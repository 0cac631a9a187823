"""What a captioner was trained on, for its checkpoint to record and results to repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from alignment.chain import Alignment
from common.plain import plain
from image_captioning.selection import CaptionSelection


def training_provenance(config: DictConfig, training: CaptionSelection, alignment: Alignment) -> dict[str, Any]:
    """What a training by `config` learns from."""
    store = training.store
    part = {"store_hash": store.manifest.hash, "captions": store.corpus_captions}
    uses_pairs = alignment.uses_pairs or "pairs" in (config.train_on, config.validate_on)
    return {
        "dataset": config.dataset.name,
        "alignment": config.alignment.name,
        "store_hash": store.hash,
        **({} if store.corpus_captions is None else {"part_of": part}),
        "image_mean_split": store.manifest.image_mean_split,
        "seed": config.seed,
        "captions": len(training.rows),
        "train_split": training.split,
        "train_on": config.train_on,
        "validate_on": config.validate_on,
        "uses_pairs": uses_pairs,
        **({"prefix_parts": plain(config.parts)} if config.get("parts") else {}),
        **({"estimates": alignment.estimates} if alignment.estimates else {}),
    }


def estimated_from_pairs(provenance: Mapping[str, Any]) -> bool:
    """Whether options of a captioner's alignment were estimated from pairs."""
    return any(estimate["uses_pairs"] for estimate in provenance.get("estimates") or [])


def print_estimates(alignment: Alignment) -> None:
    """Say which options of the alignment were set from statistics, and how."""
    for estimate in alignment.estimates:
        print("alignment.{option}=auto: {value:.4g}, from {data} data ({method})".format(**estimate))
