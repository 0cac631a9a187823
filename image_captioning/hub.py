"""Pretrained files by folder or Hub id: downloaded once, never a pickle, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from common.characters import one_line
from common.errors import MissingFolder
from common.paths import find_local_folder
from embedding_space.encoders.carried import FOLDER, IMAGE_FOLDER

FILES = [
    "config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*.json", "special_tokens_map.json",
    "memory_captions.json.gz", f"{FOLDER}/*", f"{IMAGE_FOLDER}/*",
]  # fmt: skip
WITHOUT_WEIGHTS = [pattern for pattern in FILES if "safetensors" not in pattern]


def find_hub_folder(name: str | Path, files: list[str] = FILES, **download: Any) -> Path:
    """The folder `name`, here or in the repository, or that of the Hub id `name`, from the cache or downloaded.

    Args:
        files: patterns of the files to download.
        download: options of huggingface_hub.snapshot_download, such as revision.

    Raises:
        FileNotFoundError: it cannot be had; the message says why, and what to do without a network. It is a
            `MissingFolder` where no Hub id looks like the name.
    """
    if (folder := find_local_folder(name)).is_dir():
        return folder
    try:
        return Path(snapshot_download(str(name), allow_patterns=files, **download))
    except HFValidationError as error:
        raise MissingFolder(Path(name)) from error
    except Exception as error:  # offline, unknown name, no permission: the same for the user
        raise FileNotFoundError(
            f"{name} is no folder here, and the Hugging Face Hub did not give it ({one_line(error)}); without a "
            f"network, run `hf download {name} --local-dir FOLDER` where there is one and give the folder"
        ) from error
