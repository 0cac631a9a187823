"""The conditional DDIM, the projection and Proposition 1 against slow references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import integrate
from torch import nn

from modality_translation.bound import cosine_bound, inner_product_cdf
from modality_translation.conditional import ConditionalDiffusion
from modality_translation.projection import fit_projection

SMALL = {"width": 16, "depth": 3, "time_width": 8, "dropout": 0.0}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(**options) -> ConditionalDiffusion:
    torch.manual_seed(0)
    model = ConditionalDiffusion(6, 4, SMALL, timesteps=100, **options).eval()
    nn.init.normal_(model.no_condition)
    return model


@pytest.mark.parametrize("guidance_scale", [0.0, 2.5])
def test_sampling_is_equations_3_and_4_written_out(guidance_scale):
    """Conditions are scaled by the square root of their 4 dimensions."""
    model, condition, states = make(), normal(5, 4, seed=1), normal(5, 6, seed=2)
    network, alphas = model.process.model, model.process.alphas_cumprod.double()
    with torch.no_grad():
        found = model.sample(condition, states, steps=4, guidance_scale=guidance_scale)
        slow = []
        for row, c in zip(states, condition, strict=True):
            x = row[None]
            for t, previous in ((99, 74), (74, 49), (49, 24), (24, -1)):
                time = torch.tensor([t])
                with_c, without = network(x, time, 2 * c[None]), network(x, time, model.no_condition[None])
                noise = (1 + guidance_scale) * with_c - guidance_scale * without
                alpha = alphas[t]
                clean = (x - (1 - alpha).sqrt() * noise) / alpha.sqrt()
                before = alphas[previous] if previous >= 0 else torch.tensor(1.0)
                x = before.sqrt() * clean + (1 - before).sqrt() * noise
            slow.append(x[0])
    torch.testing.assert_close(found, torch.stack(slow).float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("objective", ["pred_noise", "pred_x0", "pred_v"])
def test_the_loss_is_the_squared_error_of_what_the_network_predicts(objective):
    model = make(objective=objective, embed_scale=3.0)
    rows, condition = F.normalize(normal(8, 6, seed=1), dim=-1), normal(8, 4, seed=2)
    kept, times, noise = torch.arange(8) % 3 != 0, torch.arange(8) * 12, normal(8, 6, seed=3)
    with torch.no_grad():
        losses, predicted = model(rows, condition, kept, times, noise)
        for n in range(8):
            alpha, x0 = model.process.alphas_cumprod[times[n]], 3.0 * rows[n]
            state = alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise[n]
            c = 2 * condition[n] if kept[n] else model.no_condition
            output = model.process.model(state[None], times[n : n + 1], c[None])[0]
            wanted = {
                "pred_noise": noise[n],
                "pred_x0": x0,
                "pred_v": alpha.sqrt() * noise[n] - (1 - alpha).sqrt() * x0,
            }[objective]
            assert losses[n].item() == pytest.approx((output - wanted).square().mean().item(), rel=1e-3)
            clean = {
                "pred_noise": (state - (1 - alpha).sqrt() * output) / alpha.sqrt(),
                "pred_x0": output,
                "pred_v": alpha.sqrt() * state - (1 - alpha).sqrt() * output,
            }[objective]
            torch.testing.assert_close(predicted[n], clean, rtol=1e-3, atol=1e-3)


def test_rows_do_not_mix_and_the_condition_matters():
    model, condition, noise = make(), normal(7, 4, seed=1), normal(7, 6, seed=2)
    with torch.no_grad():
        together = model.sample(condition, noise, 3, 1.0)
        alone = [model.sample(condition[row : row + 1], noise[row : row + 1], 3, 1.0) for row in range(7)]
        torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(model.sample(condition.flip(0), noise, 3, 1.0), together, atol=1e-2)
        assert model.sample(condition[:0], noise[:0], 3, 1.0).shape == (0, 6)


def test_by_default_coordinates_have_unit_mean_square():
    assert make().embed_scale == pytest.approx(math.sqrt(6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "sigmoid"}, "schedule='sigmoid'"),
        ({"objective": "pred_z"}, "objective='pred_z'"),
        ({"drop_condition": 1.0}, "drop_condition=1.0"),
        ({"embed_scale": 0}, "embed_scale=0"),
        ({"timesteps": 1}, "timesteps=1"),
        ({"denoiser": {"layers": 3}}, r"no option model\.cdim\.denoiser\.layers=3"),
        ({"denoiser": {"depth": 0}}, "depth=0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConditionalDiffusion(6, 4, **options)


@pytest.mark.parametrize("ridge", [0.0, 0.01])
def test_the_projection_is_the_ridge_solution(ridge):
    conditions, targets = normal(20, 5, seed=1), normal(60, 3, seed=2)
    row_of = torch.stack([torch.arange(60) // 3, torch.arange(60)])
    linear = nn.Linear(5, 3)
    fit_projection(linear, conditions, targets, row_of, ridge, rows_at_once=7)
    c, z = conditions[row_of[0]].double().numpy(), targets.double().numpy()
    design = np.hstack([c, np.ones((60, 1))])
    # The penalty as 5 more rows, which leave the bias free: the textbook's augmented least squares.
    extra = np.hstack([math.sqrt(ridge * 60) * np.eye(5), np.zeros((5, 1))])
    slow = np.linalg.lstsq(np.vstack([design, extra]), np.vstack([z, np.zeros((5, 3))]), rcond=None)[0]
    np.testing.assert_allclose(linear.weight.detach().numpy().T, slow[:5], atol=1e-5)
    np.testing.assert_allclose(linear.bias.detach().numpy(), slow[5], atol=1e-5)


def test_least_squares_without_one_solution_is_refused_and_ridge_has_one():
    conditions, targets = normal(4, 9), normal(4, 3)
    row_of = torch.stack([torch.arange(4)] * 2)
    with pytest.raises(ValueError, match=r"do not span .* model\.ridge .* above 0"):
        fit_projection(nn.Linear(9, 3), conditions, targets, row_of)
    with pytest.raises(ValueError, match="ridge=-1"):
        fit_projection(nn.Linear(9, 3), conditions, targets, row_of, -1)
    fit_projection(nn.Linear(9, 3), conditions, targets, row_of, 1e-3)


@pytest.mark.parametrize("dim", [2, 3, 8, 64])
def test_inner_products_of_random_unit_vectors_have_the_distribution(dim):
    x, y = (F.normalize(normal(200_000, dim, seed=seed), dim=-1) for seed in (1, 2))
    products = (x * y).sum(-1)
    for value in (-0.3, 0.0, 0.1, 0.5):
        assert inner_product_cdf(value, dim) == pytest.approx((products <= value).double().mean().item(), abs=0.005)


def test_equation_22_is_the_distribution_one_dimension_higher():
    def paper(z: float, d: int) -> float:
        factor = math.exp(math.lgamma(d / 2 + 0.5) - math.lgamma(d / 2)) / math.sqrt(math.pi)
        return factor * integrate.quad(lambda u: (1 - u * u) ** (d / 2 - 1), -1, z)[0]

    for d in (2, 7, 50):
        assert inner_product_cdf(0.2, d + 1) == pytest.approx(paper(0.2, d), abs=1e-8)


@pytest.mark.parametrize(("energy", "gamma", "dim"), [(0.6, 1.0, 32), (0.3, 0.5, 8), (0.7, 2.0, 128)])
def test_proposition_1_against_monte_carlo(energy, gamma, dim):
    count = 100_000
    z, f = (F.normalize(normal(count, dim, seed=seed), dim=-1) for seed in (3, 4))
    cosines = (energy + gamma * (z * f).sum(-1)) / math.sqrt(energy + gamma**2)  # equation 21
    learnt = (energy + gamma * (z * F.normalize(f + 0.3 * z, dim=-1)).sum(-1)) / math.sqrt(energy + gamma**2)
    for alpha in (0.2, 0.4, 0.6):
        bound = cosine_bound(alpha, energy, gamma, dim)
        assert bound == pytest.approx((cosines >= alpha).double().mean().item(), abs=0.006)
        assert (learnt >= alpha).double().mean().item() >= bound - 0.006  # whoever knows something of z does better


def test_the_bound_of_many_targets_is_that_of_each():
    energies = np.linspace(0, 1, 7)
    together = cosine_bound(0.4, energies, 0.7, 16)
    np.testing.assert_allclose(together, [cosine_bound(0.4, energy, 0.7, 16) for energy in energies])
    with pytest.raises(ValueError, match=r"projection_energy=0\.0 to 1\.25"):
        cosine_bound(0.4, 1.25 * energies, 0.7, 16)


def test_the_bound_falls_with_alpha_and_refuses_nonsense():
    bounds = [cosine_bound(alpha, 0.5, 1.0, 64) for alpha in np.linspace(-1, 1, 21)]
    assert bounds == sorted(bounds, reverse=True) and bounds[0] == 1 and bounds[-1] < 1e-9
    for options in ({"gamma": 0.0, "projection_energy": 0.5}, {"gamma": 1.0, "projection_energy": 1.5}):
        with pytest.raises(ValueError, match="gamma="):
            cosine_bound(0.5, dim=8, **options)
    with pytest.raises(ValueError, match="dim=1"):
        inner_product_cdf(0.0, 1)
