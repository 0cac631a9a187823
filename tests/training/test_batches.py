"""Random numbers by (seed, step), epoch orders, schedules."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from common.randomness import drawn_groups, drawn_rows
from training.batches import EpochOrder, StepRandom
from training.schedule import learning_rate_factor, parameter_groups


@given(seed=st.integers(0, 1000), step=st.integers(0, 10**6), cut=st.integers(1, 7))
def test_slices_of_the_global_batch_make_up_the_whole(seed, step, cut):
    like = torch.empty(8, 3)
    whole = StepRandom(seed, step, 8, slice(0, 8))
    first, second = StepRandom(seed, step, 8, slice(0, cut)), StepRandom(seed, step, 8, slice(cut, 8))
    assert torch.equal(whole.normal_like(like), torch.cat([part.normal_like(like) for part in (first, second)]))
    assert torch.equal(whole.integers(1000), torch.cat([part.integers(1000) for part in (first, second)]))


def test_steps_and_seeds_draw_other_numbers():
    like = torch.empty(4, 4)
    draws = [StepRandom(seed, step, 4, slice(0, 4)).normal_like(like) for seed in (0, 1) for step in (0, 1)]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_noise_follows_the_dtype_asked_for():
    assert StepRandom(0, 0, 4, slice(0, 4)).normal_like(torch.empty(4, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


@given(items=st.integers(1, 60), batch=st.integers(1, 20), bucketed=st.booleans())
def test_an_epoch_holds_every_item_at_most_once_and_drops_less_than_a_batch(items, batch, bucketed):
    lengths = torch.arange(items) % 7 if bucketed else None
    order = EpochOrder(items, batch, seed=1, lengths=lengths)
    epoch = torch.cat([order.batch(step) for step in range(order.batches)])
    if items >= batch:
        assert len(epoch.unique()) == len(epoch) > items - batch
    else:
        assert len(epoch) == batch and set(epoch.tolist()) == set(range(items))


def test_epochs_differ_and_are_found_again_in_any_order():
    order, other = EpochOrder(40, 10, seed=1), EpochOrder(40, 10, seed=1)
    late = other.batch(7)
    batches = [order.batch(step) for step in range(8)]
    assert torch.equal(batches[7], late)
    assert not torch.equal(batches[0], batches[4])


def test_buckets_hold_similar_lengths():
    lengths = torch.randint(5, 30, (1000,), generator=torch.Generator().manual_seed(0))
    order = EpochOrder(1000, 20, seed=0, lengths=lengths)
    spreads = [lengths[order.batch(step)].float().std().item() for step in range(order.batches)]
    assert sum(spreads) / len(spreads) < 1.0 < lengths.float().std().item()


def test_an_empty_split_is_refused():
    with pytest.raises(ValueError, match="training split is empty"):
        EpochOrder(0, 4, seed=0)


@pytest.mark.parametrize(("schedule", "middle"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_schedules_warm_up_and_come_down(schedule, middle):
    factors = [learning_rate_factor(step, 110, 10, schedule) for step in range(111)]
    assert factors[0] == pytest.approx(1 / 11) and factors[10] == 1.0 == max(factors)
    assert factors[60] == pytest.approx(middle)
    assert factors[110] == pytest.approx(1.0 if schedule == "constant" else 0.0)
    assert all(math.isfinite(factor) and factor >= 0 for factor in factors)


def test_biases_and_gains_are_not_decayed():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1).requires_grad_(False))
    decayed, free = parameter_groups(model, 0.1)
    assert [p.shape for p in decayed["params"]] == [(4, 3)] and decayed["weight_decay"] == 0.1
    assert len(free["params"]) == 3 and free["weight_decay"] == 0.0


def test_whole_groups_are_drawn_until_there_are_enough_rows():
    groups = torch.tensor([0, 0, 1, 2, 2, 2, 3, 1])
    for count in range(1, 8):
        rows = drawn_groups(groups, count, 7)
        kept = torch.isin(groups, groups[rows])
        assert torch.equal(rows, kept.nonzero()[:, 0]) and count <= len(rows) < count + 3
    assert torch.equal(drawn_groups(torch.arange(50), 9, 1, 5), drawn_rows(50, 9, 1, 5))
