"""The generator: a picture depends on its row and seed alone, and comes back from a checkpoint."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator
from image_generation.network import NetworkOptions, RowConditionedUNet

NETWORK = {"channels": [16, 32], "attention": [False, True], "layers": 1, "head_channels": 16, "patch": 2}
ALIGNMENT = [{"step": "Normalize"}]


@pytest.fixture
def generator() -> ImageGenerator:
    torch.manual_seed(0)
    model = ImageGenerator(8, 16, NETWORK, ALIGNMENT, {"name": "words"}, provenance={"uses_pairs": False})
    for parameter in model.parameters():  # no layer starts at zero, so that everything has an effect
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def rows(count: int = 3) -> torch.Tensor:
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(1)), dim=-1)


def test_a_picture_depends_on_its_row_and_seed_alone(generator):
    together = generator.generate(rows(), [5, 6, 7], Sampling(steps=3, batch_size=2), "fp32")
    alone = generator.generate(rows()[2:], [7], Sampling(steps=3), "fp32")
    assert together.shape == (3, 16, 16, 3)
    assert (together[2].int() - alone[0].int()).abs().max() <= 1
    again = generator.generate(rows(), [5, 6, 8], Sampling(steps=3), "fp32")
    assert not torch.equal(again[2], together[2])
    assert len(generator.generate(rows(0), [])) == 0


def test_without_guidance_the_network_sees_no_empty_row(generator):
    plain = generator.generate(rows(), [1, 2, 3], Sampling(steps=2, guidance=1.0), "fp32")
    nearly = generator.generate(rows(), [1, 2, 3], Sampling(steps=2, guidance=1.0 + 1e-6), "fp32")
    assert (plain.int() - nearly.int()).abs().max() <= 1
    unconditional = generator.generate(rows(), [1, 2, 3], Sampling(steps=2, guidance=0.0), "fp32")
    others = generator.generate(rows().flip(0), [1, 2, 3], Sampling(steps=2, guidance=0.0), "fp32")
    assert (unconditional.int() - others.int()).abs().max() <= 1 and not torch.equal(unconditional, plain)


def test_a_predicted_picture_is_where_the_velocity_leads(generator):
    generator.predicts = "picture"
    states, times = torch.randn(3, 3, 16, 16), torch.tensor([0.01, 0.4, 1.0])
    velocity, picture = generator.velocity(states, times, rows()), generator.network(states, times, rows())
    torch.testing.assert_close((states - times.view(-1, 1, 1, 1) * velocity)[1:], picture[1:])
    torch.testing.assert_close(velocity[0], (states - picture)[0] / 0.05)  # near time 0 it stays finite
    with pytest.raises(ValueError, match="predicts='noise' must be picture or velocity"):
        ImageGenerator(8, 16, NETWORK, ALIGNMENT, {}, predicts="noise")


def test_the_loss_is_the_squared_error_of_the_velocity(generator):
    clean, noise = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    times = torch.tensor([0.2, 0.7])
    losses = generator(clean, rows(2), times, noise)
    for number in range(2):
        time = times[number]
        state = (1 - time) * clean[number] + time * noise[number]
        velocity = generator.network(state[None], time[None], rows(2)[number : number + 1])[0]
        slow = (velocity - (noise[number] - clean[number])).square().mean()
        torch.testing.assert_close(losses[number], slow, atol=1e-4, rtol=1e-4)


def test_the_right_picture_has_no_loss_at_any_time(generator, monkeypatch):
    generator.predicts = "picture"
    clean, noise = torch.randn(3, 3, 16, 16), torch.randn(3, 3, 16, 16)
    monkeypatch.setattr(generator.network, "forward", lambda states, times, rows: clean)
    losses = generator(clean, rows(), torch.tensor([0.01, 0.4, 1.0]), noise)
    torch.testing.assert_close(losses, torch.zeros(3))


def test_a_checkpoint_comes_back_and_another_kind_is_refused(generator, tmp_path):
    generator.save_pretrained(tmp_path / "mine")
    loaded = ImageGenerator.load(tmp_path / "mine")
    drawn = [each.generate(rows(), [1, 2, 3], Sampling(steps=2), "fp32") for each in (generator, loaded)]
    assert torch.equal(*drawn) and loaded.provenance == {"uses_pairs": False} and loaded.folder == tmp_path / "mine"
    config = json.loads((tmp_path / "mine/config.json").read_text())
    (tmp_path / "mine/config.json").write_text(json.dumps(config | {"kind": "pcm_net"}))
    with pytest.raises(ValueError, match="it is a pcm_net, not an image_generator"):
        ImageGenerator.load(tmp_path / "mine")
    with pytest.raises(FileNotFoundError):
        ImageGenerator.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"reads rows \(N, 8\); got \(2, 9\): use the encoder"):
        generator.align(torch.zeros(2, 9))


def test_the_alignment_stays_in_evaluation_mode(generator):
    generator.train()
    assert generator.network.training and not generator.alignment.training


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_keep_the_pictures_shape(patch):
    network = RowConditionedUNet(8, 3, 16, NetworkOptions(**{**NETWORK, "patch": patch}))
    states = torch.randn(2, 3, 16, 16)
    assert network(states, torch.rand(2), rows(2)).shape == states.shape
    assert network.unet.config.in_channels == 3 * patch**2
