"""Denoisers: shapes, the rows' independence, and refusals."""

import re

import pytest
import torch

from ddpm.denoisers import build_denoiser

OPTIONS = {
    "mlp": {"kind": "mlp", "width": 32, "depth": 2, "time_width": 16},
    "unet1d": {"kind": "unet1d", "width": 8, "multipliers": [1, 2]},
}


def states(rows: int = 6, dim: int = 16) -> torch.Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", OPTIONS)
def test_rows_in_rows_out_each_by_itself(kind):
    torch.manual_seed(0)
    denoiser = build_denoiser(16, OPTIONS[kind]).eval()
    times = torch.tensor([0, 5, 99, 500, 999, 5])
    whole = denoiser(states(), times)
    assert whole.shape == (6, 16)
    alone = torch.cat([denoiser(states()[i : i + 1], times[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_time_matters_after_a_step_of_training(kind):
    torch.manual_seed(0)
    denoiser = build_denoiser(16, OPTIONS[kind])
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=1e-2)
    for _ in range(2):  # the first step opens the zero gates of the residual blocks
        optimizer.zero_grad()
        (denoiser(states(), torch.arange(6) * 100) - 1).square().mean().backward()
        optimizer.step()
    early, late = (denoiser(states(), torch.full((6,), time)) for time in (10, 900))
    assert (early - late).abs().max() > 1e-4


def test_a_new_mlp_block_is_the_identity():
    block = build_denoiser(16, OPTIONS["mlp"]).blocks[0]
    features = torch.randn(3, 32)
    assert torch.equal(block(features, torch.randn(3, 16)), features)


@pytest.mark.parametrize(
    ("dim", "options", "words"),
    [
        (20, {"kind": "unet1d"}, ["20", "divisible by 8", "denoiser.multipliers", "denoiser=mlp"]),
        (16, {"kind": "transformer"}, ["'transformer'", "denoiser.kind", "mlp, unet1d"]),
        (16, {}, ["None", "denoiser.kind"]),
        (16, {"kind": "mlp", "heads": 4}, ["no option denoiser.heads=4"]),
        (16, {"kind": "mlp", "time_width": 7}, ["denoiser.time_width=7", "multiple of 2"]),
    ],
)
def test_refusals_name_value_and_option(dim, options, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        build_denoiser(dim, options)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("dim", [512, 128])
def test_default_unet_has_the_reference_size(dim):
    parameters = sum(p.numel() for p in build_denoiser(dim, {"kind": "unet1d"}).parameters())
    assert 3.9e6 < parameters < 4.1e6
