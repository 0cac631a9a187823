"""Noise without its component along the gap between the means."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.noise_across_gap import GaussianNoiseAcrossGap
from alignment.options import step_entries
from alignment.steps import GaussianNoise
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS

NORMALIZE, ACROSS = {"step": "Normalize"}, {"step": "GaussianNoiseAcrossGap", "noise_std": 0.3}


def seeded(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def chain_of(store, *between: dict) -> Alignment:
    return Alignment.from_store([NORMALIZE, *between, ACROSS, NORMALIZE], STEPS, store)


def test_the_noise_has_no_component_along_the_gap_and_is_that_of_gaussian_noise_across_it(make_store):
    store = make_store()
    step = chain_of(store).steps[1]
    gap = F.normalize(store.mean("image") - store.mean("text"), dim=0)
    torch.testing.assert_close(step.gap, gap)
    rows = store.texts("train").float()
    noised, plain = (each.training_side(rows, seeded(3)) - rows for each in (step, GaussianNoise(noise_std=0.3)))
    torch.testing.assert_close(noised @ gap, torch.zeros(len(rows)), atol=1e-5, rtol=0)
    for row, expected in zip(noised, plain, strict=True):  # one by one, as the definition says
        torch.testing.assert_close(row, expected - (expected @ gap) * gap)
    assert torch.equal(step.clean_side(rows), rows)
    assert torch.equal(step.inference_side(rows), rows)


def test_its_covariance_is_that_of_the_projection():
    step = GaussianNoiseAcrossGap(dim=4, noise_std=0.5)
    step.gap.copy_(F.normalize(torch.tensor([1.0, 2.0, 0.0, -1.0]), dim=0))
    noise = step.training_side(torch.zeros(200_000, 4), seeded())
    expected = 0.25 * (torch.eye(4) - torch.outer(step.gap, step.gap))
    torch.testing.assert_close(noise.T.cov(), expected, atol=4e-3, rtol=0)


def test_it_comes_back_from_a_checkpoint(make_store):
    chain = chain_of(make_store())
    rebuilt = Alignment.from_options(chain.options(), STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    assert rebuilt.hash == chain.hash
    rows = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(rebuilt.training_side(rows, seeded()), chain.training_side(rows, seeded()))


def test_for_image_generation_the_gap_is_the_other_way_round(make_store):
    store = make_store()
    mirrored = EmbeddingStore(store.path, training_modality="images")
    torch.testing.assert_close(chain_of(mirrored).steps[1].gap, -chain_of(store).steps[1].gap)


def test_the_means_are_of_unit_rows_of_both_modalities(make_store, monkeypatch):
    store = make_store()
    centered = chain_of(store, {"step": "Center"})
    assert torch.equal(centered.steps[2].gap, chain_of(store).steps[1].gap)  # subtracting means moves no direction
    with pytest.raises(ValueError, match=r"must follow Normalize, or Normalize and Center"):
        chain_of(store, {"step": "GaussianNoise", "noise_std": 0.1})
    monkeypatch.delitem(store._statistics, "image_mean")
    with pytest.raises(ValueError, match=r"needs the image mean, .* alignment=c2_corrupt"):
        chain_of(store)


@pytest.mark.parametrize("noise_std", [-0.1, "auto"])
def test_its_noise_is_a_number(noise_std):
    with pytest.raises(ValueError, match=r"alignment\.noise_std"):
        GaussianNoiseAcrossGap(dim=4, noise_std=noise_std)


def test_the_config_names_it(compose, make_store):
    method = compose("image_captioning", "alignment=c22_modified").alignment
    chain = Alignment.from_store(step_entries(method, STEPS), STEPS, make_store())
    assert [type(step).__name__ for step in chain.steps] == ["Normalize", "GaussianNoiseAcrossGap", "Normalize"]
    assert chain.steps[1].noise_std == 0.1
