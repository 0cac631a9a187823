"""Patch tokens on disk: any indexing, in any order, equals what is there; loading copies in parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedding_space import patch_tokens
from embedding_space.patch_tokens import PatchTokens

ROWS = np.array([2, 3, 5, 8])


@pytest.fixture
def stored(tmp_path) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((10, 4, 3)).astype(np.float16)
    np.save(tmp_path / "patches.npy", values)
    return np.load(tmp_path / "patches.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "chosen",
    [
        1,
        slice(None),
        slice(1, None, 2),
        np.array([3, 0, 0, 2]),
        torch.tensor([3, 0, 0, 2]),
        torch.tensor([3]),
        np.array([True, False, False, True]),
        np.array([], np.int64),
    ],
)
def test_rows_are_read_in_any_order_into_memory_of_their_own(stored, chosen):
    tokens = PatchTokens(stored, ROWS)
    assert tokens.shape == (4, 4, 3) and len(tokens) == 4
    wanted = torch.from_numpy(np.array(stored)[ROWS])[chosen]
    read, half = tokens[chosen], tokens.half(chosen)
    assert torch.equal(read, wanted.float()) and torch.equal(half, wanted)
    assert read.dtype == torch.float32 and half.dtype == torch.float16 and half.is_contiguous()
    half.zero_()  # the file is mapped for reading: this must not reach it
    assert torch.equal(tokens.half(chosen), wanted)


def test_all_images_are_loaded_in_parts(stored, monkeypatch):
    monkeypatch.setattr(patch_tokens, "LOAD_BYTES", 2 * 24)  # two images
    tokens, parts = PatchTokens(stored, ROWS), []
    half = tokens.half
    monkeypatch.setattr(tokens, "half", lambda part: parts.append(part) or half(part))
    loaded = tokens.load("cpu")
    assert loaded.dtype == torch.float16 and torch.equal(loaded, torch.from_numpy(np.array(stored)[ROWS]))
    assert parts == [slice(0, 2), slice(2, 4)]
