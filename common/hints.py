"""The command that helps with an error: folders are called by the `name` in a config, not by its file."""

from __future__ import annotations

import logging
import os
import shlex
from pathlib import Path

from omegaconf import OmegaConf

from common.errors import MissingFolder, NeedsEmbeddings, NeedsTables, NeedsTraining
from common.paths import CONFIGS
from common.plain import plain

logger = logging.getLogger(__name__)


PAINTED = {"_synthetic": "", "_retrieval": " painter=retrieval"}  # how folders of painted data sets end, and options
TRAINING_OPTIONS = {
    "contrastive": "experiment=photo_clip",  # the model that is shipped
    "demo_world": "output_dir=pretrained/demo_detector",  # likewise
    "image_captioning": "dataset=... (with overwrite=true over a damaged one)",
}


def with_hint(error: BaseException) -> str:
    """The error's sentence, with the command that helps with it or with its cause."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (NeedsTables, NeedsEmbeddings, NeedsTraining, MissingFolder)):
        cause = cause.__cause__
    hint = None if cause is None else _hint(cause)
    return str(error) if hint is None else f"{error}: {hint}"


def _hint(error: NeedsTables | NeedsEmbeddings | NeedsTraining | MissingFolder) -> str | None:
    if isinstance(error, MissingFolder):
        known = _config("decoder", error.folder.name)
        if known is None or not _is_pretrained(known["config"]):
            return None
        return f"run python scripts/download.py decoder={known['config']}"
    if isinstance(error, NeedsTraining):
        options = error.options or TRAINING_OPTIONS.get(error.stage, "dataset=...")
        return f"run python -m {error.stage}.train {options}"
    if isinstance(error, NeedsTables):
        if (painting := _painting_command(error.root)) is not None:
            return f"run {painting}"
        return (
            f"run python scripts/prepare_data.py {dataset_options(error.root)}, after writing them, as data/README.md "
            "says, if they are your own"
        )
    return f"{f'delete {error.store} and ' if error.again else ''}run {prepare_command(error.store, *error.options)}"


def warn_of_text_split(store: Path, prepared: str, wanted: str) -> None:
    """Warn, if the options name another split, that training reads the texts that the store was prepared with."""
    if prepared != wanted:
        logger.warning(
            "dataset.text_split=%s has no effect on training: %s was prepared with %s, and that is trained on. For the "
            "other run %s, into another folder (dataset.name=...)",
            wanted, store, prepared, prepare_command(store, f"dataset.text_split={wanted}"),
        )  # fmt: skip


def prepare_command(store: Path, *options: str) -> str:
    """The command that makes the embeddings in `store`, `<root of the data set>/<name of the encoder>`.

    Args:
        options: further ones for scripts/prepare_data.py.
    """
    encoder, more = _config("encoder", store.name), "".join(f" {option}" for option in options)
    importing = f"python scripts/prepare_data.py {_placed(store.parent, 'dataset=tables')} encoder=imported"
    if encoder is not None and encoder["kind"] == "imported":
        return f"{importing} train=FILE"
    prepare = f"python scripts/prepare_data.py {dataset_options(store.parent)}"
    if encoder is not None:
        patches = "" if _painting_command(store.parent) is None or "patches=true" in options else " patches=true"
        return f"{prepare} encoder={encoder['config']}{patches}{more}"
    named = f"encoder.name={shlex.quote(store.name)}"
    return (
        f"{prepare} encoder=CONFIG {named}{more} with the one of configs/encoder that it is to be, or, for the "
        f"embeddings of others, {importing} {named} train=FILE"
    )


def dataset_options(root: Path) -> str:
    """The options that choose the data set in `root`; one that no config names is one of tables."""
    known = _config("dataset", root.name)
    return _placed(root, f"dataset={known['config'] if known else 'tables'}")


def _painting_command(root: Path) -> str | None:
    """The command that paints the data set in `root`, if a config has it and its name says what it is painted from."""
    for ending, painter in PAINTED.items():
        source = root.name.removesuffix(ending)
        if source != root.name and _config("dataset", root.name) and _config("dataset", source):
            return f"python scripts/synthesize_images.py {dataset_options(root.with_name(source))}{painter}"
    return None


def _placed(root: Path, choice: str) -> str:
    """`choice` with the data set's name and folder, where they differ from its defaults."""
    named = choice == "dataset=tables"
    usual = Path(os.environ.get("DIFFUSION_BRIDGE_DATA", "data")) / root.name
    return (
        choice
        + (f" dataset.name={shlex.quote(root.name)}" if named else "")
        + ("" if root.resolve() == usual.resolve() else f" dataset.root={shlex.quote(str(root))}")
    )


def _is_pretrained(decoder: str) -> bool:
    """Whether configs/decoder/<decoder>.yaml, or the config that it is based on, names a pretrained model."""
    content = plain(OmegaConf.load(CONFIGS / "decoder" / f"{decoder}.yaml"), resolve=False)
    if "pretrained" in content:
        return content["pretrained"] not in (None, "???")
    return any(_is_pretrained(base) for base in content.get("defaults", []) if base != "_self_")


def _config(group: str, name: str) -> dict[str, str] | None:
    """{"config", "kind"} of the file in configs/<group> whose `name` is this one."""
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        content = plain(OmegaConf.load(path), resolve=False)
        if content.get("name") == name:
            return {"config": path.stem, "kind": content.get("kind", "")}
    return None
