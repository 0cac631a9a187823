"""Composing a stage's config in process, just as its command line would."""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def compose_config(stage: str, *overrides: str) -> DictConfig:
    """`configs/<stage>.yaml` with Hydra overrides: compose_config("ddpm", "dataset=demo", "seed=1").

    Raises hydra's ConfigCompositionException for an unknown key or group.
    """
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose(stage, list(overrides))
