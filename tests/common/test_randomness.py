"""Seeded noise and evenly spaced rows."""

from __future__ import annotations

import pytest
import torch

from common.randomness import evenly_spaced, normal_sampler, seeded_normal


def test_evenly_spaced_rows_go_from_the_first_to_the_last():
    assert evenly_spaced(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly_spaced(10, 3).tolist() == [0, 4, 9]
    assert evenly_spaced(8, 4).tolist() == [0, 2, 4, 7]
    assert evenly_spaced(8, 4, nearest=True).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(3, 9).tolist() == [0, 1, 2] and evenly_spaced(3, 1).tolist() == [0]


@pytest.mark.parametrize("rows", [17_000_000, 20_000_004])
def test_among_more_rows_than_float32_can_count_none_comes_twice(rows):
    for count in (1000, rows):
        places = evenly_spaced(rows, count)
        assert len(places) == count and places[0] == 0 and places[-1] == rows - 1 and (places.diff() > 0).all()


def test_noise_goes_on_where_it_stopped_and_repeats_with_its_seed():
    like = torch.zeros(2, 3, dtype=torch.float16)
    first, second = seeded_normal("cpu", 1, 2), seeded_normal("cpu", 1, 2)
    assert torch.equal(first(like), second(like)) and first(like).dtype == torch.float16
    assert not torch.equal(first(like), first(like))
    drawn = normal_sampler(torch.Generator().manual_seed(0))(torch.zeros(4))
    assert torch.equal(drawn, torch.randn(4, generator=torch.Generator().manual_seed(0)))
