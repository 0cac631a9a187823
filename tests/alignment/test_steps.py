"""The mathematics of the basic steps."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.chain import Alignment
from alignment.steps import BASIC_STEPS, GaussianNoise, LafiteNoise
from embedding_space.store import EmbeddingStore

NORMALIZE, CENTER = {"step": "Normalize"}, {"step": "Center"}


def seeded(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def test_centring_closes_the_mean_gap_and_uses_each_modalitys_own_mean(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], BASIC_STEPS, store)
    center = chain.steps[1]
    assert torch.allclose(
        center.training_side(store.texts("train"), torch.zeros_like).mean(0), torch.zeros(store.dim), atol=1e-3
    )
    assert torch.allclose(center.inference_side(store.images("pretrain")).mean(0), torch.zeros(store.dim), atol=1e-3)
    assert not torch.allclose(center.training_mean, center.inference_mean, atol=0.05)


def test_a_corpus_without_images_can_be_centred_but_no_image_can(make_store, monkeypatch):
    store = make_store()
    monkeypatch.delitem(store._statistics, "image_mean")
    chain = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], BASIC_STEPS, store)
    rebuilt = Alignment.from_options(chain.options(), BASIC_STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    for each in (chain, rebuilt):
        assert each.training_side(store.texts("train")).isfinite().all()
        with pytest.raises(ValueError, match="has no image mean"):
            each.inference_side(store.images("test"))


@settings(deadline=None, max_examples=25)
@given(noise_std=st.floats(0.01, 1.0), seed=st.integers(0, 100))
def test_noise_has_the_standard_deviation_asked_for(noise_std, seed):
    step = GaussianNoise(noise_std=noise_std)
    rows = torch.zeros(4000, 8)
    assert step.training_side(rows, seeded(seed)).std().item() == pytest.approx(noise_std, rel=0.05)
    assert torch.equal(step.inference_side(rows), rows)


def test_lafites_noise_has_its_share_of_the_length_and_the_rest_is_the_row():
    step = LafiteNoise()
    rows = F.normalize(torch.randn(5, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    noise = seeded(3)(rows)
    expected = 0.25 * rows + 0.75 * noise / noise.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(step.training_side(rows, seeded(3)), expected)
    torch.testing.assert_close(step.clean_side(rows), 0.25 * rows)  # the same direction
    assert torch.equal(step.inference_side(rows), rows)


def test_the_papers_variance_leaves_the_cosine_that_the_config_says():
    rows = F.normalize(torch.randn(4000, 512, generator=torch.Generator().manual_seed(0)), dim=-1)
    chain = Alignment.from_options([{"step": "GaussianNoise", "noise_std": math.sqrt(0.016)}, NORMALIZE], BASIC_STEPS)
    assert (chain.training_side(rows, seeded(1)) * rows).sum(-1).mean().item() == pytest.approx(0.33, abs=0.01)


def test_text_noise_is_fresh_at_every_call_and_reproducible_from_its_sampler(make_store):
    store = make_store()
    chain = Alignment.from_store(
        [NORMALIZE, {"step": "GaussianNoise", "noise_std": 0.1}, NORMALIZE], BASIC_STEPS, store
    )
    texts = store.texts("train")
    assert not torch.equal(chain.training_side(texts), chain.training_side(texts))
    assert torch.equal(chain.training_side(texts, seeded(3)), chain.training_side(texts, seeded(3)))


def test_for_image_generation_the_modalities_change_places(make_store):
    store = make_store()
    mirrored = EmbeddingStore(store.path, training_modality="images")
    entries = [NORMALIZE, CENTER, NORMALIZE]
    captioning, drawing = (Alignment.from_store(entries, BASIC_STEPS, each) for each in (store, mirrored))
    images, texts = store.images("test"), store.texts("test")
    assert torch.equal(drawing.training_side(images), captioning.inference_side(images))
    assert torch.equal(drawing.inference_side(texts), captioning.training_side(texts))
    with pytest.raises(ValueError, match="training_modality='sounds' must be 'texts' or 'images'"):
        EmbeddingStore(store.path, training_modality="sounds")


def test_means_of_earlier_versions_checkpoints_are_read(make_store):
    chain = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], BASIC_STEPS, make_store())
    saved = {
        name.replace("training_mean", "text_mean").replace("inference_mean", "image_mean"): tensor
        for name, tensor in chain.state_dict().items()
    }
    assert set(saved) == {"steps.1.text_mean", "steps.1.image_mean"}
    read = Alignment.from_options(chain.options(), BASIC_STEPS)
    read.load_state_dict(saved)
    assert read.hash == chain.hash
