"""TextDiffusion: identities of the schedule, weightings, units, checkpoints."""

import itertools
import json
import math
import re

import pytest
import torch
from denoising_diffusion_pytorch import GaussianDiffusion1D
from torch import nn

from ddpm.bridge import load_text_diffusion
from ddpm.diffusion import TextDiffusion, loss_weights

DIM = 16
MLP = {"kind": "mlp", "width": 32, "depth": 2, "time_width": 16}
OBJECTIVES = ("pred_x0", "pred_noise", "pred_v")
SCHEDULES = ("cosine", "linear")
EVERY = list(itertools.product(OBJECTIVES, SCHEDULES))


def diffusion(objective="pred_x0", schedule="cosine", **options) -> TextDiffusion:
    torch.manual_seed(0)
    options = {"renormalize_state": objective == "pred_x0", **options}
    return TextDiffusion(DIM, MLP, objective=objective, schedule=schedule, **options).eval()


def unit_rows(count=5, seed=0) -> torch.Tensor:
    rows = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(rows, dim=-1)


def alphas_cumprod(schedule: str, total: int = 1000) -> torch.Tensor:
    """(T,) float64 from the papers' formulas (DDPM's linear betas, improved DDPM's cosine, equation 17)."""
    if schedule == "linear":
        return torch.cumprod(1 - torch.linspace(1e-4, 0.02, total, dtype=torch.float64), 0)
    f = [math.cos((t / total + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(total + 1)]
    betas = torch.tensor([min(1 - f[t + 1] / f[t], 0.999) for t in range(total)], dtype=torch.float64)
    return torch.cumprod(1 - betas, 0)


class Answer(nn.Module):
    """A denoiser that answers as if the clean (scaled) rows were `rows`, whatever it is shown."""

    def __init__(self, model: TextDiffusion, rows: torch.Tensor):
        super().__init__()
        self.process, self.objective = [model.process], model.process.objective
        self.rows = rows

    def forward(self, states, times):
        process = self.process[0]
        noise = process.predict_noise_from_start(states, times, self.rows)
        if self.objective == "pred_noise":
            return noise
        return self.rows if self.objective == "pred_x0" else process.predict_v(self.rows, times, noise)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_is_the_papers(schedule):
    process, expected = diffusion(schedule=schedule).process, alphas_cumprod(schedule)
    # relative to what is kept and to what is lost: both ends of the chain count
    torch.testing.assert_close(process.sqrt_alphas_cumprod.double() ** 2, expected, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(process.sqrt_one_minus_alphas_cumprod.double() ** 2, 1 - expected, rtol=1e-5, atol=0)
    whole = process.sqrt_alphas_cumprod**2 + process.sqrt_one_minus_alphas_cumprod**2
    torch.testing.assert_close(whole, torch.ones(1000))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("time", [1, 2, 100, 500, 998, 999])
def test_posterior_is_bayes_rule(schedule, time):
    alphas = alphas_cumprod(schedule)
    kept, kept_before = alphas[time], alphas[time - 1]
    alpha = kept / kept_before
    clean, noisy = unit_rows(seed=1).double(), torch.randn(5, DIM, dtype=torch.float64)
    precision = alpha / (1 - alpha) + 1 / (1 - kept_before)  # of the likelihood x_t | x_{t-1} and of x_{t-1} | x_0
    mean = (noisy * alpha.sqrt() / (1 - alpha) + clean * kept_before.sqrt() / (1 - kept_before)) / precision
    process = diffusion(schedule=schedule).process
    ours, variance, log_variance = process.q_posterior(clean.float(), noisy.float(), torch.full((5,), time))
    torch.testing.assert_close(ours.double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance.squeeze()[0].double(), 1 / precision, rtol=1e-4, atol=0)
    torch.testing.assert_close(log_variance.exp(), variance)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("time", [2, 100, 500, 999])
def test_ddim_with_eta_one_and_neighbouring_steps_is_the_ddpm_posterior(schedule, time):
    model = diffusion(schedule=schedule, renormalize_state=False, embed_scale=3.0)
    clean = unit_rows(seed=1)
    states = model.add_noise(clean, time, torch.randn(5, DIM))
    model.process.model = Answer(model, 3.0 * clean)
    mean, variance, _ = model.process.q_posterior(3.0 * clean, 3.0 * states, torch.full((5,), time))
    without = model.ddim_step(states, time, time - 1, eta=1.0, normal=torch.zeros_like)
    with_noise = model.ddim_step(states, time, time - 1, eta=1.0, normal=torch.ones_like)
    torch.testing.assert_close(3.0 * without, mean, rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(3.0 * (with_noise - without), variance.sqrt().expand_as(mean), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("time", [0, 1, 300, 700, 990])
def test_start_noise_and_v_turn_into_one_another(schedule, time):
    process = diffusion(schedule=schedule).process
    times, start, noise = torch.full((5,), time), 5 * unit_rows(), torch.randn(5, DIM)
    noisy = process.q_sample(start, times, noise)
    v = process.predict_v(start, times, noise)
    close = {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(process.predict_start_from_v(noisy, times, v), start, **close)
    torch.testing.assert_close(process.predict_start_from_noise(noisy, times, noise), start, **close)
    torch.testing.assert_close(process.predict_noise_from_start(noisy, times, start), noise, **close)


@pytest.mark.parametrize(("objective", "schedule"), EVERY)
def test_snr_weighting_is_the_packages_default(objective, schedule):
    package = GaussianDiffusion1D(
        nn.Identity(), seq_length=DIM, channels=1, self_condition=False, objective=objective, beta_schedule=schedule
    )
    ours = diffusion(objective, schedule, loss_weighting="snr").process.loss_weight
    torch.testing.assert_close(ours, package.loss_weight, rtol=1e-5, atol=1e-12)


def test_min_snr_caps_the_weight_of_the_x0_error_at_five():
    snr = torch.tensor([1e-9, 0.5, 4.9, 5.1, 20_000.0])
    expected = torch.tensor([1e-9, 0.5, 4.9, 5.0, 5.0])
    torch.testing.assert_close(loss_weights(snr, "min-snr", "pred_x0"), expected)
    torch.testing.assert_close(loss_weights(snr, "min-snr", "pred_noise"), expected / snr)
    torch.testing.assert_close(loss_weights(snr, "min-snr", "pred_v"), expected / (snr + 1))
    assert diffusion(loss_weighting="min-snr").process.loss_weight.max() == 5


@pytest.mark.parametrize("weighting", ["snr", "min-snr", "constant"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_same_x0_error_costs_the_same_whatever_the_objective(weighting, schedule):
    rows, error = unit_rows(6), 0.5 * unit_rows(6, seed=3)
    times, noise = torch.tensor([0, 10, 200, 500, 900, 980]), torch.randn(6, DIM)
    snr = alphas_cumprod(schedule)[times] / (1 - alphas_cumprod(schedule)[times])
    weight = {"snr": snr, "min-snr": snr.clamp(max=5), "constant": torch.ones(6)}[weighting]
    expected = weight * error.double().square().mean(dim=1)
    for objective in OBJECTIVES:
        model = diffusion(objective, schedule, loss_weighting=weighting, embed_scale=2.0)
        model.process.model = Answer(model, 2.0 * rows + error)
        torch.testing.assert_close(model(rows, times, noise).double(), expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize(("objective", "schedule"), EVERY)
def test_losses_are_finite_per_row_and_independent_of_the_batch(objective, schedule):
    model = diffusion(objective, schedule)
    times, noise = torch.tensor([0, 1, 500, 998, 999]), torch.randn(5, DIM)
    losses = model(unit_rows(), times, noise)
    assert losses.shape == (5,) and losses.isfinite().all()
    alone = torch.cat([model(unit_rows()[i : i + 1], times[i : i + 1], noise[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(losses, alone, rtol=1e-4, atol=1e-5)


def test_renormalised_training_shows_the_network_directions_only():
    seen = []
    model = diffusion(embed_scale=3.0)
    model.process.model.denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(unit_rows(), torch.tensor([0, 100, 400, 900, 999]), torch.randn(5, DIM))
    torch.testing.assert_close(seen[0].norm(dim=-1), torch.full((5,), 3.0))


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_states_are_in_units_of_clean_rows_and_the_scale_sets_the_noise(scale):
    model, rows, noise = diffusion(embed_scale=scale), unit_rows(4000), torch.randn(4000, DIM)
    states = model.add_noise(rows, 400, noise)
    kept = alphas_cumprod("cosine")[400].float()
    torch.testing.assert_close(states, kept.sqrt() * rows + (1 - kept).sqrt() * noise / scale)
    cosine = nn.functional.cosine_similarity(states, rows, dim=-1).mean().item()
    snr = (kept / (1 - kept)).item()
    assert cosine == pytest.approx(1 / math.sqrt(1 + DIM / (scale**2 * snr)), abs=0.03)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_bf16_autocast_keeps_the_schedules_arithmetic_in_float32(objective):
    model = diffusion(objective)
    with torch.autocast("cpu", torch.bfloat16):
        states = model.add_noise(unit_rows(), 400, torch.randn(5, DIM))
        assert states.dtype == torch.float32
        assert model.ddim_step(states, 400, 200).dtype == torch.float32
        assert model(unit_rows(), torch.tensor([0, 1, 2, 3, 4]), torch.randn(5, DIM)).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objective": "pred_x"}, ["diffusion.objective='pred_x'", "pred_x0"]),
        ({"schedule": "sigmoid"}, ["diffusion.schedule='sigmoid'", "cosine"]),
        ({"loss_weighting": "p2"}, ["diffusion.loss_weighting='p2'", "min-snr"]),
        ({"embed_scale": 0.0}, ["diffusion.embed_scale=0.0", "greater than 0 or 'sqrt_dim'"]),
        ({"timesteps": 20, "schedule": "linear"}, ["timesteps=20 is too few for schedule=linear", "more than 20"]),
        ({"timesteps": 1}, ["diffusion.timesteps=1", "greater than or equal to 2"]),
        ({"objective": "pred_noise", "renormalize_state": True}, ["pred_noise", "renormalize_state=false"]),
        ({"objective": "pred_v", "renormalize_state": True}, ["pred_v", "renormalize_state=false"]),
        ({"prefix": [{"step": "Center", "dim": DIM}]}, ["end with Normalize"]),
    ],
)
def test_refusals_name_value_and_option(options, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        TextDiffusion(DIM, MLP, **options)
    assert all(word in str(error.value) for word in words)


def saved(folder, **options) -> TextDiffusion:
    model = diffusion(**options)
    model.prefix.steps[1].training_mean.copy_(unit_rows(1)[0])
    nn.init.normal_(model.process.model.denoiser.blocks[0].modulation.weight)
    model.save_pretrained(folder)
    return model


def test_checkpoint_round_trip(tmp_path):
    model = saved(tmp_path, objective="pred_v", embed_scale=2.5, timesteps=100, loss_weighting="min-snr")
    again = load_text_diffusion(tmp_path)
    assert again.options() == model.options() and not again.training
    json.dumps(again.options())
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    states = unit_rows()
    assert torch.equal(again.ddim_step(states, 50, 20), model.ddim_step(states, 50, 20))


def test_a_rebuilt_model_needs_only_options_and_tensors(tmp_path):
    model = saved(tmp_path)
    again = TextDiffusion(**model.options()).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.ddim_step(unit_rows(), 599, -1), model.ddim_step(unit_rows(), 599, -1))


def test_missing_checkpoint_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No text diffusion model in .*missing\)$"):
        load_text_diffusion(tmp_path / "nowhere")
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors missing"):
        load_text_diffusion(tmp_path)


def _truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _other_width(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "denoiser": {**MLP, "width": 64}}))


def _missing_tensors(folder):  # the config asks for a block that the weights do not hold
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "denoiser": {**MLP, "depth": 3}}))


def _unknown_option(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "gamma": 1}))


def _broken_json(folder):
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize("damage", [_truncated, _other_width, _missing_tensors, _unknown_option, _broken_json])
def test_damaged_checkpoints_are_refused_in_one_sentence(tmp_path, damage):
    saved(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=r"text diffusion model in .* cannot be loaded"):
        load_text_diffusion(tmp_path)
