"""How the folders of evaluations of pictures are called by default. Importing this registers `${pictures_name:...}` for
configs."""

from __future__ import annotations

import re
from pathlib import Path

from omegaconf import OmegaConf


def pictures_name(
    checkpoint: str | None, pictures: str | None, dataset: str, split: str, encoder: str, reference: str | None
) -> str:
    """The folder name of an evaluation: the generator, or the pictures' last two folders, and what they are compared
    with."""
    drawn = "_".join(Path(pictures or "nothing").absolute().parts[-2:])
    name = drawn if checkpoint is None else Path(checkpoint).name
    real = f"{dataset}_{split}" if reference is None else Path(reference).name
    return re.sub(r"[^\w.-]+", "-", f"{name}_against_{real}_{encoder}")


OmegaConf.register_new_resolver("pictures_name", pictures_name, replace=True)
