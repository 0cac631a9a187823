"""The states on the way back are those of the bridge, at times that fall to 0."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ddpm.bridge import DiffusionBridge, reverse_diffusion, reverse_states
from ddpm.diffusion import TextDiffusion

DIM = 16
MLP = {"kind": "mlp", "width": 32, "depth": 2, "time_width": 16}


@pytest.mark.parametrize(("start", "steps"), [(600, 5), (100, 1), (3, 3)])
def test_the_last_state_is_the_result_and_times_fall_to_zero(start, steps):
    torch.manual_seed(0)
    model = TextDiffusion(DIM, MLP).eval()
    rows = F.normalize(torch.randn(4, DIM), dim=-1)
    times, states = zip(*reverse_states(model, rows, start, steps), strict=True)
    assert len(times) == steps and times[-1] == 0 and list(times) == sorted(times, reverse=True) and times[0] < start
    assert torch.equal(F.normalize(states[-1], dim=-1), reverse_diffusion(model, rows, start, steps))


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_an_images_way_ends_where_its_inference_side_does(eta):
    torch.manual_seed(0)
    options = TextDiffusion(DIM, MLP).options()
    step = DiffusionBridge(options, image_timestep=50, image_steps=4, eta=eta)
    rows = F.normalize(torch.randn(3, DIM), dim=-1)
    *_, (time, last) = step.inference_states(rows)
    assert time == 0 and torch.equal(F.normalize(last, dim=-1), step.inference_side(rows))
