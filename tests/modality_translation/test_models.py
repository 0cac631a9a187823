"""Equations 5, 6, 8 and 9, the ablations, and translation of rows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modality_translation.models import ConditionalEncoderDecoder, Sampling, build_direction
from modality_translation.translation import Translation, sides
from training.batches import StepRandom

CDIM = {"denoiser": {"width": 16, "depth": 2, "time_width": 8, "dropout": 0.0}, "timesteps": 50}


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def make(sampling: Sampling | None = None, **options) -> ConditionalEncoderDecoder:
    torch.manual_seed(1)
    return ConditionalEncoderDecoder(6, 4, CDIM, sampling or Sampling(steps=3), **options).eval()


def random(step: int = 0, rows: int = 8) -> StepRandom:
    return StepRandom(0, step, rows, slice(0, rows))


def test_translation_is_equation_5():
    model, condition = make(), unit(5, 4)
    for gamma in (0.0, 0.5, 2.0):
        sampling = Sampling(steps=3, gamma=gamma, guidance_scale=1.0)
        with torch.no_grad():
            projected, found = model.parts(condition, sampling)
            slow = (2 * condition @ model.projection.weight.T + model.projection.bias) / 6**0.5  # 2: of 4 dimensions
            made = model.translate(condition, sampling)
        torch.testing.assert_close(projected, slow)
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(5))
        torch.testing.assert_close(made, F.normalize(slow + gamma * found, dim=-1))


@torch.no_grad()
def test_ablations_keep_one_term():
    model, condition = make(), unit(5, 4)
    projected, found = model.parts(condition, Sampling(steps=3))
    torch.testing.assert_close(model.translate(condition, Sampling(terms="projection")), F.normalize(projected, dim=-1))
    torch.testing.assert_close(model.translate(condition, Sampling(steps=3, terms="ddim")), found)


@torch.no_grad()
def test_a_row_depends_on_the_seed_and_neither_on_its_batch_nor_on_the_call():
    model, condition = make(), unit(6, 4)
    together = model.translate(condition, Sampling(steps=3))
    alone = torch.cat([model.translate(row[None], Sampling(steps=3)) for row in condition])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(together, model.translate(condition, Sampling(steps=3)))
    assert not torch.allclose(together, model.translate(condition, Sampling(steps=3, seed=1)), atol=1e-3)


@torch.no_grad()
def test_the_loss_is_equation_9():
    model = make(reconstruction_weight=0.7, noise_weight=3.0)
    condition, rows = unit(8, 4, seed=1), unit(8, 6, seed=2)
    losses, draws = model.losses(condition, rows, random()), random()
    kept = draws.integers(1 << 20) >= 0.05 * (1 << 20)
    times, noise = draws.integers(50), draws.normal_like(rows)
    squared, found = model.cdim(rows, condition, kept, times, noise)
    made = model.projection(condition) + F.normalize(found, dim=-1)
    absolute = torch.stack([(z - m).abs().mean() * k for z, m, k in zip(rows, made, kept, strict=True)]).mean()
    assert losses["noise"].item() == pytest.approx(squared.mean().item(), rel=1e-5)
    assert losses["reconstruction"].item() == pytest.approx(absolute.item(), rel=1e-5)
    assert losses["loss"].item() == pytest.approx(0.7 * absolute.item() + 3 * squared.mean().item(), rel=1e-5)


def test_reconstruction_from_noise_trains_through_all_steps():
    condition, rows = unit(8, 4, seed=1), unit(8, 6, seed=2)
    model = make(reconstruction_steps=2, noise_weight=0.0)
    model.losses(condition, rows, random())["loss"].backward()
    assert model.cdim.process.model.leave.weight.grad.abs().sum() > 0
    with torch.no_grad():
        draws = random()
        for _ in range(2):
            draws.integers(50)
        draws.normal_like(rows)
        sample = model.cdim.sample(condition, draws.normal_like(rows), 2, 0.0)
        expected = (rows - model.projection(condition) - F.normalize(sample, dim=-1)).abs().mean()
        assert model.losses(condition, rows, random())["reconstruction"].item() == pytest.approx(
            expected.item(), rel=1e-4
        )


def test_terms_left_out_have_no_weights():
    only_projection = make(Sampling(terms="projection"))
    assert only_projection.cdim is None and set(only_projection.losses(unit(8, 4), unit(8, 6), random())) == {"loss"}
    only_ddim = make(Sampling(terms="ddim", steps=2))
    assert only_ddim.projection is None
    assert only_ddim.translate(unit(3, 4), only_ddim.sampling).shape == (3, 6)
    with pytest.raises(ValueError, match="trained without"):
        only_ddim.translate(unit(3, 4), Sampling())


def test_a_closed_form_projection_is_solved_and_fixed_and_the_residual_is_perpendicular_on_average():
    model = make(projection="closed_form", ridge=1e-6, target="residual")
    conditions, targets = unit(200, 4, seed=1), unit(200, 6, seed=2)
    model.fit(conditions, targets, torch.stack([torch.arange(200)] * 2))
    assert not any(p.requires_grad for p in model.projection.parameters())
    residual = targets - model.projection(conditions)
    assert (conditions.T @ residual).abs().max() < 1e-3  # normal equations
    losses = model.losses(conditions[:8], targets[:8], random())
    losses["loss"].backward()
    assert losses["loss"].isfinite() and model.projection.weight.grad is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": "svd"}, "model.projection='svd'"),
        ({"target": "noise"}, "model.target='noise'"),
        ({"ridge": 0.1}, "model.ridge=0.1 is for"),
        ({"ridge": -1.0, "projection": "closed_form"}, "model.ridge=-1.0"),
        ({"noise_weight": -2.0}, "model.noise_weight=-2.0"),
        ({"reconstruction_weight": "two"}, "model.reconstruction_weight='two'"),
        ({"reconstruction_steps": 51}, r"model\.reconstruction_steps=51 must not exceed model\.cdim\.timesteps=50"),
        ({"sampling": Sampling(steps=51)}, r"sampling\.steps=51 must not exceed model\.cdim\.timesteps=50"),
        ({"reconstruction_steps": -1}, "reconstruction_steps=-1"),
        ({"sampling": Sampling(terms="ddim"), "target": "residual"}, "no residual"),
    ],
)
def test_bad_models_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0}, {"steps": 2.5}, {"gamma": -1}, {"gamma": "half"}, {"guidance_scale": -0.1},
        {"guidance_scale": None}, {"terms": "all"}, {"seed": -1},
    ],
)  # fmt: skip
def test_bad_sampling_is_refused(options):
    with pytest.raises(ValueError, match=rf"sampling\.{next(iter(options))}="):
        Sampling(**options)
    with pytest.raises(ValueError, match=r"no option sampling\.order=2"):
        Sampling().changed({"order": 2})


def test_more_steps_than_the_chain_and_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match=r"steps=51 .*=50"):
        make().translate(unit(1, 4), Sampling(steps=51))
    with pytest.raises(ValueError, match=r"'gan' \(option model\.kind\)"):
        build_direction(6, 4, {"kind": "gan"}, Sampling())
    with pytest.raises(ValueError, match=r"no option model\.heads=2"):
        build_direction(6, 4, {"kind": "mlp", "heads": 2}, Sampling())
    for options in ({"width": 0}, {"depth": -1}, {"width": 2.5}):
        with pytest.raises(ValueError, match=rf"model\.{next(iter(options))}="):
            build_direction(6, 4, {"kind": "mlp", **options}, Sampling())


def test_a_translation_goes_both_ways_between_widths_and_says_what_it_refuses():
    model = {"kind": "ced", "cdim": CDIM}
    translation = Translation(4, 6, model, {"steps": 2}).eval()
    assert translation.translate(unit(3, 4), "image_to_text").shape == (3, 6)
    made = translation.translate(unit(3, 6), "text_to_image", guidance_scale=0.0, gamma=None)
    assert made.shape == (3, 4) and made.norm(dim=-1).allclose(torch.ones(3))
    assert translation.translate(unit(1, 4)[:0], "image_to_text").shape == (0, 6)
    assert sides("text_to_image") == ("texts", "images")
    with pytest.raises(ValueError, match="translates rows of 4 dimensions"):
        translation.translate(unit(3, 6), "image_to_text")
    one = Translation(**translation.options("image_to_text"))
    with pytest.raises(ValueError, match="no direction 'text_to_image'"):
        one.translate(unit(3, 6), "text_to_image")
    with pytest.raises(ValueError, match="directions="):
        Translation(4, 6, model, directions=["sideways"])
    with pytest.raises(ValueError, match=r"sampling\.gamma=null: training needs a value"):
        Translation(4, 6, model, {"steps": 2, "gamma": None})
