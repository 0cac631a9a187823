"""The captions of a captioner's text memory, in a file beside its weights: `decoding=consensus` then needs no store."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.memory import TextMemory
from common.files import file_sha256, whole_file
from common.randomness import evenly_spaced
from common.text_files import read_json
from evaluation.captions.training_text import TrainingSource
from image_captioning.captioning_model import CaptioningModel
from image_captioning.consensus import ConsensusMemory, memory_of

FILE = "memory_captions.json.gz"
SAME_ROW = 0.999  # cosine of a memory's row in half precision and the store's


def consensus_memory(
    captioner: CaptioningModel, training: TrainingSource | None
) -> Callable[[], ConsensusMemory] | None:
    """Makes the captions that a consensus reads: those of the training, else those beside the checkpoint; None where
    there are neither."""
    if training is not None and (make := memory_of(training)) is not None:
        return make
    path = captioner.folder and captioner.folder / FILE
    return partial(_read, path, captioner) if path and path.is_file() else None


def memory_identity(captioner: CaptioningModel, training: TrainingSource) -> str:
    """What decides the captions that a consensus reads, for evaluations to record: a store's hash, or the file's."""
    if training.store is not None:
        return f"{training.store.hash} {training.split}"
    return file_sha256(cast(Path, captioner.folder) / FILE)


def save_memory_captions(captioner: CaptioningModel, training: TrainingSource, folder: Path) -> None:
    """Write the captions of the captioner's text memory into a folder.

    Raises:
        ValueError: there is no text memory, the training captions are not known, or they are not those of the memory.
    """
    memory, preceding = _text_memory(captioner)
    if training.store is None:
        raise ValueError(f"training_store: the captions of the memory are not known: {training.unavailable}")
    captions, rows = training.store.captions(training.split), training.store.texts(training.split)
    chosen = evenly_spaced(len(captions), len(memory.memory))
    rows = rows[chosen]
    for step in preceding:
        rows = step.clean_side(rows)
    same = len(rows) == len(memory.memory)
    if not same or F.cosine_similarity(rows, memory.memory.float(), dim=-1).min() < SAME_ROW:
        raise ValueError(f"training_store={training.store.path} does not hold the captions of the captioner's memory")
    write_captions(folder, [captions[row] for row in chosen.tolist()])


def write_captions(folder: Path, captions: Sequence[str]) -> None:
    """Write the captions of a text memory, row for row."""
    content = json.dumps(list(captions), ensure_ascii=False).encode()
    with whole_file(folder / FILE) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0))


def _read(path: Path, captioner: CaptioningModel) -> ConsensusMemory:
    memory, preceding = _text_memory(captioner)
    captions = read_json(path)
    if not isinstance(captions, list) or len(captions) != len(memory.memory):
        raise ValueError(f"{path} does not hold the {len(memory.memory):,} captions of this captioner's text memory")
    return ConsensusMemory(captions, F.normalize(memory.memory.float(), dim=-1), Alignment(preceding))


def _text_memory(captioner: CaptioningModel) -> tuple[TextMemory, list]:
    """The captioner's text memory and the steps before it."""
    steps = list(captioner.alignment.steps)
    for place, step in enumerate(steps):
        if isinstance(step, TextMemory):
            return step, steps[:place]
    raise ValueError("this captioner has no text memory, whose captions a consensus could read")
