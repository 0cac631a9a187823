"""Configs of omegaconf as plain Python."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import OmegaConf


def plain(config: Any, resolve: bool = True) -> dict[str, Any]:
    """The config as nested dictionaries and lists, its interpolations replaced by their values if `resolve`."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=resolve))
