"""What a method uses, and what its captioner holds: the facts beside its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignment.chain import Alignment
from alignment.row_memory import RowMemory
from image_captioning.captioning_model import CaptioningModel


def memory_bytes(captioner: CaptioningModel, alignment: Alignment) -> int:
    """Bytes of the text memories that captioning reads: of the alignment's steps, and of parts of the prefix."""
    memories: list[Any] = [step.memory for step in alignment.steps if isinstance(step, RowMemory)]
    if (searched := dict(captioner.named_modules()).get("parts.memory")) is not None:
        memories += searched.buffers()
    return sum(memory.numel() * memory.element_size() for memory in memories)


def trained_parameters(summaries: Sequence[Mapping[str, Any]]) -> int | None:
    """How many parameters the trainings have trained together; None where one of them did not say."""
    counts = [summary.get("trained_parameters") for summary in summaries]
    return None if None in counts else sum(count for count in counts if count is not None)
