"""What says which things a picture shows: a detector of the pictures' world, which is handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Judgments:
    """Of N pictures and their sentences.

    values: {metric: (N,) from 0 to 1, nan where the sentence says nothing of the kind}.
    warnings: one sentence each.
    """

    values: Mapping[str, Tensor]
    warnings: Sequence[str] = field(default_factory=list)


class CaptionJudge(Protocol):
    """Looks at pictures and says whether they show what their sentences say.

    Attributes:
        names: of the metrics.
        description: JSON that says which judge it is, its weights' hash among it.
    """

    names: Sequence[str]
    description: dict[str, Any]

    def judge(self, paths: Sequence[Path], sentences: Sequence[str]) -> Judgments: ...
