"""Metrics that run one after the other, so that what stops one stops no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from common.characters import one_line
from evaluation.pictures.errors import UnreadablePictures

Values = Mapping[str, float | Tensor]


class Attempts:
    """Collects metrics.

    Attributes:
        metrics: {name: value, None for one that could not run}.
        unavailable: {name: why it is None}.
        per_picture: {name: [a value for each picture, or None]}.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, float | None] = {}
        self.unavailable: dict[str, str] = {}
        self.per_picture: dict[str, list[float | None]] = {}

    def run(self, names: Sequence[str], measure: Callable[[], Values]) -> None:
        """Take {name: a value, or one for each picture (N,), nan where there is none} of all `names` from `measure`.

        The metric of values for each picture is their mean, in percent.

        Raises UnreadablePictures, which concern all metrics.
        """
        try:
            values = measure()
        except UnreadablePictures:
            raise
        except Exception as error:  # isolation: whatever stops one metric, in whatever library, the others are taken
            for name in names:
                self._leave_out(name, one_line(error) or type(error).__name__)
            return
        for name in names:
            self._take(name, values[name])

    def _take(self, name: str, value: float | Tensor) -> None:
        if not isinstance(value, Tensor):
            self.metrics[name] = value
        elif value.isnan().all():
            self._leave_out(name, "no sentence says anything that it could be taken of")
        else:
            self.metrics[name] = 100 * value.nanmean().item()
            missing, numbers = value.isnan().tolist(), value.to(torch.float64).tolist()
            self.per_picture[name] = [None if gone else v for v, gone in zip(numbers, missing, strict=True)]

    def _leave_out(self, name: str, reason: str) -> None:
        self.metrics[name], self.unavailable[name] = None, reason
