"""What stops one metric stops no other."""

from __future__ import annotations

import pytest
import torch

from evaluation.pictures.attempts import Attempts
from evaluation.pictures.errors import UnreadablePictures


def failing(error: Exception):
    def measure():
        raise error

    return measure


def test_values_means_and_reasons_are_kept():
    attempts = Attempts()
    attempts.run(["a", "b"], failing(RuntimeError("no\nmemory")))
    attempts.run(["c"], lambda: {"c": 2.5})
    attempts.run(["d", "e"], lambda: {"d": torch.tensor([1.0, torch.nan, 0.0]), "e": torch.full((3,), torch.nan)})
    assert attempts.metrics == {"a": None, "b": None, "c": 2.5, "d": 50.0, "e": None}
    assert attempts.unavailable["a"] == attempts.unavailable["b"] == "no memory"
    assert attempts.unavailable["e"].startswith("no sentence says anything")
    assert attempts.per_picture == {"d": [1.0, None, 0.0]}


def test_unreadable_pictures_concern_all_metrics():
    with pytest.raises(UnreadablePictures):
        Attempts().run(["a"], failing(UnreadablePictures(["x.png"], 2, "generated")))
