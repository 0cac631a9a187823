"""Composing a stage's config in process, just as its command line would."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def compose_config(stage: str, *overrides: str) -> DictConfig:
    """`configs/<stage>.yaml` with Hydra overrides: compose_config("ddpm", "dataset=demo", "seed=1").

    Works within a `hydra.main` too. Raises ValueError for an unknown key, group or choice.
    """
    outer = GlobalHydra.instance().hydra  # of the hydra.main that may be running
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return hydra.compose(stage, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"configs/{stage}.yaml with {' '.join(overrides)}: {error}") from error
    finally:
        GlobalHydra.instance().hydra = outer


def override(key: str, value: object) -> str:
    """`key='value'` for `compose_config`, quoted so that Hydra's grammar takes any path or text."""
    escaped = str(value).replace("\\'", "\\\\'").replace("'", "\\'")
    return f"{key}='{escaped}'"
