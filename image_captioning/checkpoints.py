"""Where captioners are: a run folder, a name in pretrained/ or a Hub id."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from common.paths import PRETRAINED
from image_captioning.hub import find_hub_folder

CHECKPOINT_FILES = ("config.json", "model.safetensors", "tokenizer.json")
HINT = (
    "run python -m image_captioning.train (with overwrite=true over a damaged one), or give checkpoint= a run folder, "
    "a name in pretrained/ or a Hub id"
)


def find_checkpoint(checkpoint: str | Path, **download: Any) -> Path:
    """The folder of a captioner: a run folder, a name in `pretrained/` or a Hub id.

    Args:
        download: for a Hub id, options of huggingface_hub.snapshot_download.

    Raises:
        FileNotFoundError: there is none.
    """
    folders = [path for path in (Path(checkpoint), PRETRAINED / checkpoint) if path.is_dir()]
    # A folder of photos may share its name with a captioner in pretrained/.
    folder = next((path for path in folders if (path / "config.json").exists()), next(iter(folders), None))
    if folder is not None:
        return folder
    if str(checkpoint).count("/") != 1:
        shipped = ", ".join(sorted(path.parent.name for path in PRETRAINED.glob("*/model.safetensors")))
        raise FileNotFoundError(f"No captioner in {checkpoint}: {HINT}; in pretrained/ there is {shipped}")
    try:
        return find_hub_folder(checkpoint, **download)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"No captioner in {checkpoint}: {error}; or {HINT}") from error


def checkpoint_sha256(folder: Path) -> str:
    """Identity of the captioner in `folder`: of its options, weights and tokenizer."""
    digest = hashlib.sha256()
    for name in CHECKPOINT_FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
