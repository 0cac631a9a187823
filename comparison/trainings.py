"""A training that a comparison needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from common.config import compose_config
from common.paths import CONFIGS
from common.plain import plain
from common.registry import look_up
from ddpm.training_run import train as train_ddpm
from image_captioning.training_run import train as train_captioner
from image_generation.training_run import train as train_generator
from modality_translation.training_run import train as train_translation
from pcm_net.training_run import train as train_pcm_net
from training.run_folder import FINISHED, difference_from

TRAIN = {
    "ddpm": train_ddpm,
    "modality_translation": train_translation,
    "image_captioning": train_captioner,
    "pcm_net": train_pcm_net,
    "image_generation": train_generator,
}
# What a plan calls a kind of work, and its seconds in the demo on two CPU cores.
KINDS = {
    "ddpm": ("ddpm", 30.0),
    "image_captioning": ("training", 90.0),
    "pcm_net": ("training", 180.0),
    "image_generation": ("training", 600.0),
    "modality_translation": ("translation", 60.0),
}

DATA = ("dataset", "dataset.*", "encoder", "encoder.*")  # options of every stage that a comparison sets


@dataclass(frozen=True)
class TrainingStage:
    """name: of the stage, `configs/<name>.yaml`. label: for the user. config: with the run folder as `output_dir`."""

    name: str
    label: str
    config: DictConfig

    @property
    def folder(self) -> str:
        return self.config.output_dir

    @property
    def is_finished(self) -> bool:
        return (Path(self.folder) / FINISHED).exists()

    def difference(self) -> str | None:
        """How the run in its folder differs from this one, if it would be refused for that."""
        return None if self.config.overwrite else difference_from(self.folder, self.config)

    @property
    def is_reusable(self) -> bool:
        return self.is_finished and not self.config.overwrite and self.difference() is None

    def train(self) -> None:
        """Train it; a finished run is reused."""
        TRAIN[self.name](self.config)

    def summary(self) -> dict:
        """What the finished run says of itself."""
        return json.loads((Path(self.folder) / FINISHED).read_text())


def stage_config(stage: str, overrides: Sequence[str], values: Mapping) -> DictConfig:
    """The stage's config with overrides, and with values in the place of its own."""
    config = deepcopy(_composed(stage, tuple(overrides)))
    for key, value in values.items():
        config[key] = value
    return config


# Composing takes a third of a second, and only the seed and the folders differ between the runs of a method.
@cache
def _composed(stage: str, overrides: tuple[str, ...]) -> DictConfig:
    return compose_config(stage, *overrides)


def check_stage_experiment(name: str | None, stages: Collection[str]) -> None:
    """Refuse the option `stage_experiment` where it would change nothing.

    Raises:
        ValueError: there is no such experiment, or it has no settings for any of the stages.
    """
    if name is None:
        return
    known = {path.name: path for path in sorted((CONFIGS / "experiment").iterdir()) if path.is_dir()}
    folder = look_up(name, known, "experiment", "stage_experiment")
    settings = {path.stem for path in folder.glob("*.yaml")} - {"data"}
    if not settings & set(stages):
        raise ValueError(
            f"stage_experiment={name} has settings for {', '.join(sorted(settings))} alone, and here the stages are "
            f"{', '.join(stages)}: leave it out"
        )


def check_overrides(overrides: Iterable[str], set_here: Collection[str]) -> None:
    """Refuse a stage's overrides of what a command sets itself: they would be ignored, or make another row of it.

    Args:
        set_here: options, with * for any characters.

    Raises:
        ValueError: such an override.
    """
    for text in overrides:
        key = text.lstrip("+~").partition("=")[0]
        if any(fnmatchcase(key, option) for option in set_here):
            raise ValueError(f"{text} is an override of a stage, but {key} is for this command to set: leave it out")


def experiment_override(stage: str, name: str | None, groups: Mapping[str, Mapping] | None = None) -> list[str]:
    """The override that passes an experiment on to a stage, if it has settings for that one.

    Raises ValueError when they say something else about the data than `groups`, which take their place.
    """
    path = CONFIGS / "experiment" / str(name) / f"{stage}.yaml"
    if name is None or not path.is_file():
        return []
    settings = plain(OmegaConf.load(path), resolve=False)
    for group, chosen in (groups or {}).items():
        for key, value in settings.get(group, {}).items():
            if chosen.get(key) != value:
                raise ValueError(
                    f"experiment={name} sets {group}.{key}={value!r} for {stage}, but here it is {chosen.get(key)!r}: "
                    f"give {group}.{key}={value} here, too"
                )
    return [f"experiment={name}"]
