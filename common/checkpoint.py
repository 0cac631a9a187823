"""Checkpoints in a folder: written in half precision, or by `save_pretrained`; read back strictly, and never as a
pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_model, save_file
from torch import nn

from common.characters import one_line
from common.errors import DamagedModel, MissingModel
from common.files import whole_file, write_json

Model = TypeVar("Model", bound=nn.Module)


def save_checkpoint(model: nn.Module, config: Mapping[str, Any], folder: str | Path) -> None:
    """Write `config.json` and `model.safetensors` for `load_checkpoint`: matrices and biases in float16, statistics and
    single numbers in float32."""
    write_json(Path(folder) / "config.json", config)
    learned = {name for name, value in model.named_parameters() if value.ndim}
    weights = {
        name: (value.half() if name in learned else value).detach().cpu().contiguous()
        for name, value in model.state_dict().items()
    }
    with whole_file(Path(folder) / "model.safetensors") as temporary:
        save_file(weights, temporary)


def load_checkpoint(model_class: Callable[..., Model], folder: str | Path, what: str, stage: str) -> Model:
    """Rebuild a model from `config.json` and `model.safetensors` in `folder`; it comes in evaluation mode.

    Args:
        model_class: takes the JSON values of config.json.
        what: the model's name in messages, "text diffusion model".
        stage: the room that trains such models.

    Raises:
        MissingModel: a file is missing.
        DamagedModel: the files are damaged or belong to another kind of model.
    """
    folder = Path(folder)
    config, weights = folder / "config.json", folder / "model.safetensors"
    missing = [path.name for path in (config, weights) if not path.exists()]
    if missing:
        raise MissingModel(what, folder, missing, stage)
    try:
        model = model_class(**json.loads(config.read_text()))
        load_model(model, weights, strict=True)
    except Exception as error:  # truncated JSON, foreign tensors, unknown options: one sentence for all
        raise DamagedModel(what, folder, one_line(error), stage) from error
    return model.eval()


def weights_hash(*modules: nn.Module) -> str:
    """SHA-256 of the modules' weights and their names."""
    digest = hashlib.sha256()
    for module in modules:
        for name, values in module.state_dict().items():
            numbers = values.cpu().contiguous().flatten().view(torch.uint8)  # NumPy has no bfloat16
            digest.update(name.encode() + numbers.numpy().tobytes())
    return digest.hexdigest()
