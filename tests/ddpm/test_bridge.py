"""The bridge against a slow re-derivation of the reference's loop, and its place in an alignment."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from alignment.chain import Alignment
from alignment.steps import Center, Normalize
from common.hints import with_hint
from ddpm.bridge import DiffusionBridge, reverse_diffusion
from ddpm.diffusion import TextDiffusion
from ddpm.sampling import ddim_times
from image_captioning.alignments import STEPS

DIM = 16
MLP = {"kind": "mlp", "width": 32, "depth": 2, "time_width": 16, "dropout": 0.1}
CHAIN = [{"step": "Normalize"}, {"step": "Center"}, {"step": "Normalize"}]
KINDS = [("pred_x0", True), ("pred_x0", False), ("pred_noise", False), ("pred_v", False)]


def diffusion(objective="pred_x0", renormalize_state=True, **options) -> TextDiffusion:
    """An untrained model whose every part matters: the zero-initialised gates are open."""
    torch.manual_seed(0)
    model = TextDiffusion(DIM, MLP, objective=objective, renormalize_state=renormalize_state, **options)
    for block in model.process.model.denoiser.blocks:
        nn.init.normal_(block.modulation.weight, std=0.3)
    return model.eval()


def unit_rows(count=6, seed=0) -> torch.Tensor:
    rows = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(rows, dim=-1)


def sequence(seed=0):
    """A sampler that gives the same draws to whoever starts it with the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def slow_bridge(model, row, start, steps, eta, noises) -> np.ndarray:
    """The reference's loop on one state (D,) in units of clean rows, in float64, from the papers' formulas."""
    scale, objective, total = model.embed_scale, model.process.objective, model.timesteps
    f = [math.cos((t / total + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(total + 1)]
    alphas = np.cumprod([1 - min(1 - f[t + 1] / f[t], 0.999) for t in range(total)])
    denoiser = model.process.model.denoiser
    state = scale * row.double().numpy()
    times = [int(time) for time in np.linspace(-1, start - 1, steps + 1)][::-1]
    for number, (time, next_time) in enumerate(pairwise(times)):
        if model.renormalize_state:
            state = scale * state / np.linalg.norm(state)
        shown = torch.tensor(state, dtype=torch.float32)[None]
        answer = denoiser(shown, torch.tensor([time]))[0].detach().double().numpy()
        kept, lost = math.sqrt(alphas[time]), math.sqrt(1 - alphas[time])
        if objective == "pred_x0":
            clean = answer
        elif objective == "pred_noise":
            clean = (state - lost * answer) / kept
        else:
            clean = kept * state - lost * answer
        noise = (state - kept * clean) / lost
        if next_time < 0:
            return clean / np.linalg.norm(clean)
        after = alphas[next_time]
        sigma = eta * math.sqrt((1 - alphas[time] / after) * (1 - after) / (1 - alphas[time]))
        state = math.sqrt(after) * clean + math.sqrt(1 - after - sigma**2) * noise
        if eta:
            state = state + sigma * noises[number].double().numpy()


@pytest.mark.parametrize(("objective", "renormalize"), KINDS)
@pytest.mark.parametrize(
    ("start", "steps", "eta"), [(600, 5, 0.0), (400, 7, 0.0), (600, 5, 0.7), (1000, 10, 1.0), (3, 3, 0.5)]
)
def test_bridge_is_the_references_loop(objective, renormalize, start, steps, eta):
    model, rows = diffusion(objective, renormalize, embed_scale=2.0), unit_rows()
    draw = sequence(7)
    noises = [draw(rows) for _ in range(steps)]
    ours = reverse_diffusion(model, rows, start, steps, eta, sequence(7))
    for number, row in enumerate(rows):
        expected = slow_bridge(model, row, start, steps, eta, [noise[number] for noise in noises])
        np.testing.assert_allclose(ours[number].numpy(), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("start", "expected"),
    [(400, [399, 319, 239, 159, 79, -1]), (600, [599, 479, 359, 239, 119, -1])],
)
def test_times_are_the_references(start, expected):
    assert ddim_times(start, 5) == expected


def test_times_of_any_number_of_steps():
    assert ddim_times(600, 1) == [599, -1]
    assert ddim_times(4, 4) == [3, 2, 1, 0, -1]
    assert ddim_times(1, 1) == [0, -1]
    for start, steps in [(7, 3), (999, 10), (1000, 999)]:
        times = ddim_times(start, steps)
        assert len(times) == steps + 1 and times[0] == start - 1 and times[-1] == -1
        assert all(first > second for first, second in pairwise(times))


def test_the_network_is_asked_at_exactly_these_times():
    seen = []
    model = diffusion()
    model.process.model.denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1].unique().tolist()))
    reverse_diffusion(model, unit_rows(), 600, 5)
    assert seen == [[599], [479], [359], [239], [119]]


class Oracle(nn.Module):
    """Knows the clean rows; predicts from them what the objective asks for."""

    def __init__(self, process, clean):
        super().__init__()
        self.process, self.clean = [process], clean

    def forward(self, states, times):
        process = self.process[0]
        noise = process.predict_noise_from_start(states, times, self.clean)
        if process.objective == "pred_noise":
            return noise
        return self.clean if process.objective == "pred_x0" else process.predict_v(self.clean, times, noise)


@pytest.mark.parametrize(("objective", "renormalize"), KINDS)
@pytest.mark.parametrize(("start", "steps", "eta"), [(1, 1, 0.0), (400, 1, 0.0), (400, 5, 1.0), (900, 50, 0.0)])
def test_a_perfect_denoiser_recovers_the_rows_from_any_step(objective, renormalize, start, steps, eta):
    model, rows = diffusion(objective, renormalize), unit_rows()
    model.process.model = Oracle(model.process, model.embed_scale * rows)
    states = model.add_noise(rows, start, torch.randn(rows.shape))
    torch.testing.assert_close(reverse_diffusion(model, states, start, steps, eta, sequence()), rows, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("objective", "renormalize"), KINDS)
def test_one_step_is_the_normalised_prediction(objective, renormalize):
    model, states = diffusion(objective, renormalize), unit_rows()
    predicted = model.ddim_step(states, 599, -1)
    torch.testing.assert_close(reverse_diffusion(model, states, 600, 1), nn.functional.normalize(predicted, dim=-1))


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_images_do_not_depend_on_their_batch_or_on_the_call(eta):
    bridge, rows = DiffusionBridge(diffusion().options(), eta=eta), unit_rows(9)
    bridge.diffusion.load_state_dict(diffusion().state_dict())
    whole = bridge.inference_side(rows)
    torch.testing.assert_close(whole.norm(dim=-1), torch.ones(9))
    assert torch.equal(whole, bridge.inference_side(rows))
    torch.testing.assert_close(torch.cat([bridge.inference_side(row[None]) for row in rows]), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(bridge.inference_side(rows.flip(0)).flip(0), whole, rtol=0, atol=1e-5)
    assert bridge.inference_side(rows[:0]).shape == (0, DIM)


def test_texts_are_noised_with_the_index_and_denoised_from_one_below():
    model = diffusion()
    bridge = DiffusionBridge(model.options(), text_timestep=400, text_steps=5, eta=0.5)
    bridge.diffusion.load_state_dict(model.state_dict())
    rows, draw = unit_rows(), sequence(3)
    states = model.add_noise(rows, 400, draw(rows))
    assert torch.equal(bridge.training_side(rows, sequence(3)), reverse_diffusion(model, states, 400, 5, 0.5, draw))
    assert not torch.equal(bridge.training_side(rows, sequence(3)), bridge.training_side(rows, sequence(4)))


def test_null_text_timestep_leaves_texts_alone_and_draws_nothing():
    bridge = DiffusionBridge(diffusion().options(), text_timestep=None)
    assert torch.equal(bridge.training_side(unit_rows(), None), unit_rows())


def test_a_training_parent_does_not_bring_dropout_or_gradients_into_the_bridge():
    bridge = DiffusionBridge(diffusion().options())
    nn.ModuleList([bridge]).train()
    assert not any(module.training for module in bridge.modules())
    assert not any(parameter.requires_grad for parameter in bridge.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_timestep": 1001}, ["alignment.image_timestep=1001", "1..1000"]),
        ({"image_timestep": 0}, ["alignment.image_timestep=0", "equal to 1"]),
        ({"text_timestep": 1000}, ["alignment.text_timestep=1000", "1..999"]),
        ({"text_steps": 0}, ["alignment.text_steps=0", "equal to 1"]),
        ({"image_timestep": 4, "image_steps": 5}, ["alignment.image_steps=5", "1..alignment.image_timestep=4"]),
        ({"eta": -0.1}, ["alignment.eta=-0.1", "greater than or equal to 0"]),
        ({"eta": 1.5}, ["alignment.eta=1.5", "less than or equal to 1"]),
    ],
)
def test_refusals_name_value_and_option(options, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        DiffusionBridge(diffusion().options(), **options)
    assert all(word in str(error.value) for word in words)


def chain(folder, preceding=CHAIN, **options) -> list[dict]:
    return [*preceding, {"step": "DiffusionBridge", "diffusion": str(folder), **options}, {"step": "Normalize"}]


@pytest.fixture
def trained_on(tmp_path):
    """Saves a model that says it was trained on `store`; returns its folder."""

    def save(store, name="ddpm"):
        model = diffusion()
        model.prefix.load_state_dict(Alignment.from_store(CHAIN, STEPS, store).state_dict())
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


def test_in_an_alignment(make_store, trained_on):
    store = make_store(dim=DIM)
    folder = trained_on(store)
    alignment = Alignment.from_store(chain(folder, image_timestep=300), STEPS, store)
    images, texts = (
        alignment.inference_side(store.images("val")),
        alignment.training_side(store.texts("val"), sequence()),
    )
    for rows in (images, texts):
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(len(rows)))
    centred = nn.functional.normalize(store.images("val"), dim=-1) - store.mean("image")
    centred = nn.functional.normalize(centred, dim=-1)
    torch.testing.assert_close(images, reverse_diffusion(diffusion(), centred, 300, 5))
    # saved and rebuilt without the diffusion model's folder
    again = Alignment.from_options(alignment.options(), STEPS)
    again.load_state_dict(alignment.state_dict())
    assert torch.equal(again.inference_side(store.images("val")), images)
    assert again.options() == alignment.options()


def test_other_steps_before_the_bridge_are_refused(make_store, trained_on):
    store = make_store(dim=DIM)
    folder = trained_on(store)
    for preceding in ([{"step": "Normalize"}], [*CHAIN[:2]], []):
        with pytest.raises(ValueError, match="DiffusionBridge is after") as error:
            Alignment.from_store(chain(folder, preceding), STEPS, store)
        assert all(word in str(error.value) for word in (str(folder), "Center(dim=16)", "alignment.steps"))


def test_another_text_mean_is_refused_and_another_image_mean_is_not(make_store, trained_on):
    store = make_store(dim=DIM)
    folder = trained_on(store)
    preceding = [Normalize(), Center.from_store(store, [Normalize()]), Normalize()]
    preceding[1].inference_mean += 0.5
    DiffusionBridge.from_store(store, preceding, diffusion=str(folder))
    preceding[1].training_mean += 0.01
    with pytest.raises(ValueError, match="text mean") as error:
        DiffusionBridge.from_store(store, preceding, diffusion=str(folder))
    assert all(word in str(error.value) for word in (str(store.path), str(folder), "text mean"))


def test_a_missing_diffusion_model_names_its_command(make_store, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No text diffusion model in ") as caught:
        Alignment.from_store(chain(tmp_path / "none"), STEPS, make_store(dim=DIM))
    assert with_hint(caught.value).endswith(": run python -m ddpm.train dataset=...")


def test_unknown_option_of_the_step_is_refused(make_store, trained_on):
    store = make_store(dim=DIM)
    with pytest.raises(ValueError, match="DiffusionBridge has no option 'steps'"):
        Alignment.from_store(chain(trained_on(store), steps=5), STEPS, store)


def test_trained_on_clusters_the_bridge_moves_noisy_rows_towards_them():
    """A mixture of 8 tight clusters: after training, noisy rows come out closer to their clean selves."""
    torch.manual_seed(0)
    centers = unit_rows(8, seed=5)

    def clean(count):
        return nn.functional.normalize(centers[torch.randint(8, (count,))] + 0.03 * torch.randn(count, DIM), dim=-1)

    model = TextDiffusion(DIM, {**MLP, "width": 64, "dropout": 0.0}, embed_scale=3.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        model(clean(128), torch.randint(1000, (128,)), torch.randn(128, DIM)).mean().backward()
        optimizer.step()
    model.eval()
    rows = clean(200)
    noisy = nn.functional.normalize(rows + 0.15 * torch.randn(rows.shape), dim=-1)
    bridged = reverse_diffusion(model, noisy, 300, 5)
    before, after = (nn.functional.cosine_similarity(x, rows, dim=-1).mean() for x in (noisy, bridged))
    assert before < 0.9 and after > before + 0.05
