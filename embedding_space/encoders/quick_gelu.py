"""Which activation open_clip weights were trained with: GELU, or OpenAI's QuickGELU, x * sigmoid(1.702 x).

The wrong one loads without an error and gives embeddings that are a little wrong everywhere.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import open_clip

from common.warn import warn_once

QUICK = "-quickgelu"  # ends the names of open_clip's models with QuickGELU
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")  # beside the weights in OpenAI's own archives


def check_activation(name: str, pretrained: str, options: str) -> None:
    """Refuse weights that were trained with another activation than the open_clip model `name` has.

    A file that does not say its activation gives a warning, once.

    Args:
        pretrained: open_clip's tag, or a checkpoint file.
        options: what chose them, for messages.
    """
    plain = name.removesuffix(QUICK)
    twin = f"{name}{QUICK}" if name == plain else plain
    weights = open_clip.get_pretrained_cfg(name, pretrained)
    if twin not in open_clip.list_models() or not (weights or Path(pretrained).is_file()):
        return
    quick = bool(weights.get("quick_gelu")) if weights else _file_is_quick(plain, Path(pretrained))
    if quick not in (None, name != plain):
        how = "with" if quick else "without"
        raise ValueError(f"{options}: these weights were trained {how} QuickGELU; set encoder.model={twin}")
    if quick is None and name == plain:
        warn_once(
            f"{options}: it is unknown whether these weights were trained with QuickGELU, as those of OpenAI, DFN and "
            f"MetaCLIP were; if they were, set encoder.model={twin}"
        )


def _file_is_quick(model: str, file: Path) -> bool | None:
    """Whether the weights in a checkpoint file were trained with QuickGELU; None where that is unknown.

    The code of OpenAI's archives shows it. Otherwise the config beside the file says it, or the file's name, if
    open_clip knows it for a tag of `model` or of its twin.
    """
    if is_torchscript(file):
        with zipfile.ZipFile(file) as archive:
            code = (archive.read(name) for name in archive.namelist() if "/code/" in name)
            if any(OPENAI_KEYS[0].encode() in text for text in code):
                return True
    config = file.with_name("open_clip_config.json")
    if config.is_file():
        return _says_quick(config)
    for twin in (model, f"{model}{QUICK}"):
        for tag in open_clip.list_pretrained_tags_by_model(twin):
            weights = open_clip.get_pretrained_cfg(twin, tag)
            if weights.get("url", "").rsplit("/", 1)[-1] == file.name:
                return bool(weights.get("quick_gelu"))
    return None


def check_folder(folder: Path, options: str) -> None:
    """Warn of a folder whose two configs, open_clip's and transformers', disagree on QuickGELU."""
    other = folder / "config.json"
    if not other.is_file():
        return
    towers = (_read_config(other).get(f"{tower}_config") for tower in ("text", "vision"))
    acts = {tower["hidden_act"] for tower in towers if isinstance(tower, dict) and "hidden_act" in tower}
    quick = _says_quick(folder / "open_clip_config.json")
    if len(acts) == 1 and ("quick_gelu" in acts) != quick:
        warn_once(
            f"{options}: config.json there says hidden_act={acts.pop()}, open_clip_config.json quick_gelu={quick}, "
            "which is used; if that is wrong, correct open_clip_config.json"
        )


def _says_quick(config: Path) -> bool:
    model = _read_config(config).get("model_cfg")
    return bool(isinstance(model, dict) and model.get("quick_gelu"))


def _read_config(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): fetch that folder again") from error
    return content if isinstance(content, dict) else {}


def is_torchscript(pretrained: str | Path) -> bool:
    """Whether a file is a TorchScript archive, which holds code beside weights."""
    if not zipfile.is_zipfile(pretrained):
        return False
    with zipfile.ZipFile(pretrained) as archive:
        return any("/code/" in name for name in archive.namelist())
