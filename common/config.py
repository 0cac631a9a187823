"""Composing a stage's config in process, just as its command line would."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from common.options import addable, fit_options, keys, no_option
from common.paths import CONFIGS
from common.plain import plain

_COMPOSING = threading.RLock()  # Hydra's state is one for the process, and a server composes in threads


def compose_config(stage: str, *overrides: str) -> DictConfig:
    """`configs/<stage>.yaml` with Hydra overrides, such as "dataset=demo" and "seed=1"; also within a `hydra.main`.

    Raises:
        ValueError: a key, group or choice is unknown, or as `fit_options`.
    """
    with _COMPOSING:
        return _compose(stage, overrides)


def _compose(stage: str, overrides: Sequence[str]) -> DictConfig:
    outer = GlobalHydra.instance().hydra  # of the hydra.main that may be running
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose(stage, stage_experiments(stage, overrides), return_hydra_config=True)
            choices = config.hydra.runtime.choices
            with open_dict(config):
                del config["hydra"]
            return fit_options(config, stage, choices)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"configs/{stage}.yaml with {' '.join(overrides)}: {_first_part(error)}") from error
    finally:
        GlobalHydra.instance().hydra = outer


def explain(stage: str, overrides: Iterable[str], error: HydraException) -> str:
    """What is wrong with a command line, instead of Hydra's advice to add a misspelled key with a +."""
    if isinstance(error, OverrideParseException):
        reason = str(error).splitlines()[0]
        return f"{error.override}: {reason}; quote what holds = or brackets twice, as in 'ddpm=[\"loop.steps=3\"]'"
    if unlike := re.match(r"Error merging override (.+)", str(error)):
        return f"{unlike[1]}: the value is of another kind than the option's (a list, parts or one value)"
    absent = re.match(r"Could not override '(.+?)'", str(error))  # of a key, or of a group such as alignment
    if absent is None:
        return _first_part(error)
    key = absent[1]
    if addable(key) and key.partition(".")[0] in _choices(stage):
        return (
            f"{key} is an option that configs/{stage}.yaml and its parts leave out: add it with a +, as in +{key}=..."
        )
    others = [text for text in overrides if "=" in text and text.partition("=")[0] != key]
    for near in (others, []):
        try:
            return no_option(key, stage, keys(plain(compose_config(stage, *near), resolve=False)))
        except ValueError:  # something else is wrong, too, or several values are to be swept over
            continue
    return no_option(key, stage, [])


def _first_part(error: Exception) -> str:
    """The error without the folders that were searched."""
    return str(error).partition("\nConfig search path")[0].strip()


def _choices(stage: str) -> list[str]:
    """The groups that the stage's config chooses from."""
    parts = plain(OmegaConf.load(CONFIGS / f"{stage}.yaml"), resolve=False)["defaults"]
    return [group for part in parts if isinstance(part, dict) for group in part]


def stage_experiments(stage: str, arguments: Iterable[str]) -> list[str]:
    """The overrides, with `experiment=NAME/<stage>` instead of `experiment=NAME`.

    An experiment is a folder `configs/experiment/NAME/` with a config for each stage that it has settings for, so that
    one name serves the commands of all stages. They share `data.yaml` there.

    Raises:
        ValueError: the experiment has no config for this stage.
    """
    overrides = []
    for argument in arguments:
        key, _, name = argument.partition("=")
        name = name.removesuffix(f"/{stage}")  # as in the commands that manifests keep
        if key != "experiment" or name in ("", "null"):
            overrides.append(argument)
            continue
        known = _experiment_stages(stage, name)
        if stage not in known:
            raise ValueError(
                f"experiment={name} has no settings for {stage}, only for {', '.join(known)}: leave it out"
            )
        overrides.append(f"experiment={name}/{stage}")
    return overrides


def _experiment_stages(stage: str, name: str) -> list[str]:
    experiments = CONFIGS / "experiment"
    stages = sorted({path.stem for path in (experiments / name).glob("*.yaml")} - {"data"})
    if not stages:
        known = sorted({path.parent.name for path in experiments.glob(f"*/{stage}.yaml")})
        raise ValueError(f"Unknown experiment {name!r}; known for {stage}: {', '.join(known) or 'none'}")
    return stages


def drop_nulls(options: Mapping) -> dict:
    """The options that are not null."""
    return {name: value for name, value in options.items() if value is not None}


def override(key: str, value: object) -> str:
    """`key='value'` for `compose_config`, quoted so that Hydra's grammar takes any path or text."""
    escaped = str(value).replace("\\'", "\\\\'").replace("'", "\\'")
    return f"{key}='{escaped}'"
