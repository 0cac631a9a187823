"""Pretrained files by folder or Hub id: downloaded once, never a pickle, never code."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

from common.characters import one_line

FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*.json", "special_tokens_map.json"]
WITHOUT_WEIGHTS = [pattern for pattern in FILES if "safetensors" not in pattern]


def find_hub_folder(name: str | Path, files: list[str] = FILES, **download: str | bool | Path | None) -> Path:
    """The folder `name`, or that of the Hub id `name`, from the cache or downloaded.

    Args:
        files: patterns of the files that are wanted.
        download: options of huggingface_hub.snapshot_download, such as revision.

    Raises FileNotFoundError with the reason in one line, and what to do where there is no network.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(str(name), allow_patterns=files, **download))
    except Exception as error:  # offline, unknown name, no permission: for the user they mean the same
        reason = one_line(error)
        raise FileNotFoundError(
            f"{name} is no folder here, and the Hugging Face Hub did not give it ({reason}); without a network, "
            f"run `hf download {name} --local-dir FOLDER` where there is one and give the folder"
        ) from error
