"""Rectified flow: straight ways are walked back exactly, and in the steps of diffusers' solver."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from image_generation.flow import LogitNormal, Sampling, at_time, guided, integrate, solver_times


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_ends_of_a_way_are_picture_and_noise():
    clean, noise = normal(3, 2, 4, 4), normal(3, 2, 4, 4, seed=1)
    assert torch.equal(at_time(clean, noise, torch.zeros(3)), clean)
    assert torch.equal(at_time(clean, noise, torch.ones(3)), noise)
    moved = at_time(clean, noise, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(moved[1], 0.75 * clean[1] + 0.25 * noise[1])


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_straight_way_is_walked_back_exactly(solver, steps):
    clean, noise = normal(2, 1, 4, 4), normal(2, 1, 4, 4, seed=1)
    walked = integrate(lambda states, times: noise - clean, noise, Sampling(steps=steps, solver=solver))
    torch.testing.assert_close(walked, clean)


def test_heun_is_of_second_order():
    # dx/dt = x from time 1 to 0: x(0) = x(1) / e
    def errors(solver: str) -> list[float]:
        ends = [
            integrate(lambda states, times: states, torch.ones(1, 1), Sampling(steps=steps, solver=solver))
            for steps in (10, 20)
        ]
        return [abs(end.item() - torch.e**-1) for end in ends]

    euler, heun = errors("euler"), errors("heun")
    assert euler[0] / euler[1] == pytest.approx(2, rel=0.1)
    assert heun[1] < euler[1] / 3


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_takes_the_steps_of_diffusers(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    state = normal(2, 3, 4, 4)
    times = solver_times(5, shift)
    scheduler.set_timesteps(sigmas=times[:-1])

    def velocity(states: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return torch.sin(states) + at.view(-1, 1, 1, 1)

    slow = state
    for step, time in zip(scheduler.timesteps, times[:-1], strict=True):
        slow = scheduler.step(velocity(slow, torch.full((2,), time)), step, slow).prev_sample
    quick = integrate(velocity, state, Sampling(steps=5, solver="euler", time_shift=shift))
    torch.testing.assert_close(quick, slow, atol=1e-5, rtol=1e-5)


def test_times_are_logit_normal():
    times = LogitNormal(0.8, 0.5).draw(normal(20_000))
    logits = times.logit()
    assert logits.mean() == pytest.approx(0.8, abs=0.02) and logits.std() == pytest.approx(0.5, abs=0.02)


def test_the_shift_is_that_of_the_paper():
    times = solver_times(4, 3.0)
    assert times[0] == 1 and times[-1] == 0 and times == sorted(times, reverse=True)
    assert times[2] == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


def test_guidance_goes_from_the_unconditional_velocity_past_the_conditional_one():
    with_rows, without_rows = normal(2, 3), normal(2, 3, seed=1)
    assert torch.equal(guided(with_rows, without_rows, 0), without_rows)
    torch.testing.assert_close(guided(with_rows, without_rows, 1), with_rows)
    torch.testing.assert_close(guided(with_rows, without_rows, 3), with_rows + 2 * (with_rows - without_rows))


@pytest.mark.parametrize("options", [{"steps": 0}, {"solver": "rk4"}, {"guidance": -1.0}, {"time_shift": 0.0}])
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=f"sampling.{next(iter(options))}"):
        Sampling(**options)
