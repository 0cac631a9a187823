"""What running a table again needs, and whether it is there: disk, a GPU, weights, files that are fetched by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
import torch

from common.plain import plain
from comparison.compare_methods import runs_of
from comparison.reproduce.stages import PlannedStage
from comparison.reproduce.table import PublishedTable
from embedding_space.datasets.download import check_network

GB = 1e9
HUB_FILES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin",
    "model_index.json",
)  # fmt: skip


STORE_FILES = ("manifest.json", "identity.json")  # by which a store's folder is known, finished or not


@dataclass
class _FileSystem:
    """What is needed on a file system: in which folder, how much, and the files that are there already."""

    place: Path
    needed: float = 0.0  # GB
    files: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class Need:
    """Something that is needed.

    there: what there is. enough: None where it cannot be told. remedy: where it is not.
    machine: whether `check_machine=false` goes on without it.
    """

    what: str
    there: str
    enough: bool | None
    remedy: str = ""
    machine: bool = False


def check_needs(table: PublishedTable, stages: Sequence[PlannedStage]) -> list[Need]:
    """Everything that the stages that are not done need."""
    waiting = [stage for stage in stages if not stage.is_done()]
    needs = [*_disk(waiting), *_by_hand(waiting), *_weights(waiting)]
    trains = any(stage.name not in ("prepare_data", "eval_coco") for stage in waiting)
    return [*([_gpu(table)] if trains else []), *needs]


def _gpu(table: PublishedTable) -> Need:
    what = f"a GPU of {table.gpu_gb:g} GB"
    remedy = "run on a machine with one; check_machine=false goes on nevertheless, slowly or until memory ends"
    if not torch.cuda.is_available():
        return Need(what, "none", False, remedy, machine=True)
    memory = torch.cuda.get_device_properties(0).total_memory / GB
    there = f"{torch.cuda.get_device_name(0)}, {memory:.0f} GB"
    return Need(what, there, memory >= table.gpu_gb, remedy, machine=True)


def _disk(stages: Sequence[PlannedStage]) -> Iterator[Need]:
    """One need for each file system that something is written to; what the same stages left there counts.

    What a stage downloads is most of what it takes, and goes to the file system of the data set's source.
    """
    places: dict[int, _FileSystem] = {}
    for stage in stages:
        source = _source(stage)
        main = stage.folder if source is None else source
        for folder in dict.fromkeys((main, stage.folder)):
            existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
            place = places.setdefault(existing.stat().st_dev, _FileSystem(existing))
            place.needed += stage.options.disk_gb * (folder == main)
            place.files |= _files(folder, stage)
    for disk in places.values():
        place, needed = disk.place, disk.needed
        if not needed:
            continue
        left = max(0.0, needed - sum(path.stat().st_size for path in disk.files) / GB)
        free = shutil.disk_usage(place).free / GB
        what = f"{needed:.0f} GB of disk" + (f", {left:.0f} GB more than is there already" if left < needed else "")
        remedy = "make room, or set DIFFUSION_BRIDGE_DATA to a folder on another disk"
        yield Need(what, f"{free:.0f} GB free in {place}", free >= left, remedy, machine=True)


def _source(stage: PlannedStage) -> Path | None:
    """The folder that a stage downloads to."""
    if stage.name != "prepare_data" or not stage.config.download or "source" not in stage.config.dataset:
        return None
    return Path(stage.config.dataset.source)


def _files(folder: Path, stage: PlannedStage) -> set[Path]:
    """The stage's files in its own folder or its source, and what it left unfinished beside it.

    A data set's folder is often its source, and holds the stores of all encoders: those of others do not count.
    """
    beside = folder.with_name(f"{folder.name}.partial")
    others = set()
    if stage.name == "prepare_data":
        stores = (path.parent for name in STORE_FILES for path in Path(stage.config.dataset.root).glob(f"*/{name}"))
        others = {store.resolve() for store in stores} - {stage.folder.resolve()}
        others -= {stage.folder.with_name(f"{stage.folder.name}.partial").resolve()}
    paths = (path for where in (folder, beside) if where.is_dir() for path in where.rglob("*") if path.is_file())
    return {path for path in map(Path.resolve, paths) if others.isdisjoint(path.parents)}


def _by_hand(stages: Sequence[PlannedStage]) -> Iterator[Need]:
    """Files that no command can fetch."""
    for stage in stages:
        dataset = plain(stage.config.dataset) if stage.name == "prepare_data" else {}
        if dataset.get("by_hand"):
            yield Need(f"{dataset['name']}: files fetched by hand", "", None, str(dataset["by_hand"]))


def _weights(stages: Sequence[PlannedStage]) -> Iterator[Need]:
    """Pretrained weights that the stages load: those of the encoder, the decoder and the painter."""
    seen = set()
    for stage in stages:
        for what, repository, url in _named_weights(stage):
            if what not in seen:
                seen.add(what)
                yield _weight(what, repository, url)


def _named_weights(stage: PlannedStage) -> Iterator[tuple[str, str | None, str | None]]:
    """(what it is called, its repository on the Hub, else its address)."""
    config: Mapping[str, Any] = plain(stage.config)
    if stage.name == "prepare_data" and config["encode"]:
        encoder = config["encoder"]
        model, tag = str(encoder.get("model", "")), encoder.get("pretrained")
        if model.startswith("hf-hub:"):
            yield model, model.removeprefix("hf-hub:"), None
        elif known := open_clip.get_pretrained_cfg(model, str(tag)):
            yield f"{model}, {tag}", (known.get("hf_hub") or "").strip("/") or None, known.get("url")
        elif tag and not Path(tag).exists():
            yield f"encoder.pretrained={tag}", None, None
    decoders = [config.get("decoder", {})] if stage.name == "image_captioning" else []
    if stage.name == "compare_methods":
        decoders = [{"pretrained": name} for name in stage_decoders(stage)]
    for decoder in decoders:
        if (name := decoder.get("pretrained")) and not Path(name).is_dir():
            yield f"decoder.pretrained={name}", name, None
    if stage.name == "synthesize_images" and not Path(config["painter"].get("model", ".")).exists():
        yield f"painter.model={config['painter']['model']}", config["painter"]["model"], None


def stage_decoders(stage: PlannedStage) -> list[str]:
    """The pretrained decoders that a comparison's captioners start from."""
    runs, seed = runs_of(stage.config), stage.config.seeds[0]
    trainings = [training for method in runs.methods for training in runs.trainings(method, seed)]
    names = [plain(training.config).get("decoder", {}).get("pretrained") for training in trainings]
    return list(dict.fromkeys(name for name in names if name))


def _weight(what: str, repository: str | None, url: str | None) -> Need:
    if repository and any(
        isinstance(huggingface_hub.try_to_load_from_cache(repository, name), str) for name in HUB_FILES
    ):
        return Need(what, "in the cache of the Hugging Face Hub", True)
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on")
    address = url if repository is None else f"{huggingface_hub.constants.ENDPOINT}/{repository}"
    remedy = "run where there is a network, or give a folder or file in its place"
    if address is None or (offline and repository is not None):
        return Need(what, "neither on disk nor, offline, to be fetched", False, remedy)
    try:
        check_network([address])
    except FileNotFoundError as error:
        return Need(what, str(error).partition(";")[0], False, remedy)
    return Need(what, f"to be fetched from {address}", True)
