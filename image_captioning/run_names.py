"""How the folders of evaluations are called by default. Importing this registers `${run_name:...}` and
`${embeddings_name:...}` for configs."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from common.config import drop_nulls
from common.paths import PRETRAINED
from common.plain import plain


def run_name(
    checkpoint: str | None, dataset: str, image_mean_from: str, split: str, caption_from: str, decoding: DictConfig,
    image_side: DictConfig, alignment: str | None, precision: str, predictions: str | None,
    translation: str | None = None,
) -> str:  # fmt: skip
    """The folder name of an evaluation: what was captioned or scored, and every option that is not the default."""
    if predictions is not None:
        name = _file_name(Path(predictions))
    else:
        name = f"{Path(checkpoint or 'nothing').name}_{split}_{_decoding_label(decoding)}"
        name += "_from_texts" if caption_from == "texts" else ""
        name += f"_on_{dataset}" if _trained_on(checkpoint) not in (dataset, None) else ""
        name += "_image_mean_from_store" if image_mean_from == "store" else ""
        name += f"_through_{alignment}" if alignment else ""
        name += f"_translated_by_{Path(translation).name}" if translation else ""
        name += "".join(f"_{option}{value}" for option, value in drop_nulls(image_side).items())
        name += f"_{precision}" if precision != "auto" else ""
    return re.sub(r"[^\w.-]+", "-", name)


def embeddings_name(dataset: str, encoder: str, split: str, translation: str | None) -> str:
    """The folder name of an evaluation of embeddings."""
    return f"{dataset}_{encoder}_{split}" + (f"_translated_by_{Path(translation).name}" if translation else "")


def _file_name(predictions: Path) -> str:
    """The name of a file's evaluation: files of one name and other contents, as all runs write, have folders apart."""
    from evaluation.reading import ENDINGS  # brings torch, which a misspelt option does not need

    name = predictions.name
    while Path(name).suffix.lower() in (*ENDINGS, ".gz"):
        name = Path(name).stem
    try:
        content = f"_{hashlib.sha256(predictions.read_bytes()).hexdigest()[:8]}"
    except OSError:  # reading it will say what is wrong
        content = ""
    return f"scored_{name}{content}"


def _decoding_label(options: DictConfig) -> str:
    from image_captioning.generation import Decoding  # brings torch, too

    try:
        return Decoding(**plain(options)).label
    except (TypeError, ValueError):  # the evaluation will say what is wrong with them
        return str(options.get("strategy"))


def _trained_on(checkpoint: str | None) -> str | None:
    """The data set that a local captioner was trained on, so that evaluating it on another has a folder of its own."""
    for folder in (Path(checkpoint or ""), PRETRAINED / (checkpoint or "")):
        try:
            return json.loads((folder / "config.json").read_text())["provenance"]["dataset"]
        except (OSError, ValueError, KeyError, TypeError):  # loading the captioner will say what is wrong with it
            continue
    return None


OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("embeddings_name", embeddings_name, replace=True)
