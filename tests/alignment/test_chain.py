"""Alignment chains: the mathematics of each step, and chains that survive a checkpoint."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.chain import STEP_MODULES, Alignment, step_class, text_side
from alignment.memory import TextMemory
from alignment.step import Step

NORMALIZE, CENTER = {"step": "Normalize"}, {"step": "Center"}
METHODS = ("c1", "c2_collapse", "c2_corrupt", "c3", "decap_memory")


def seeded(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_unit_rows_on_both_sides(make_store, compose, method):
    store = make_store()
    steps = compose("image_captioning", f"alignment={method}").alignment.steps
    chain = Alignment.from_store(steps, store)
    texts, images = store.texts("train"), store.images("test")
    for rows in (chain.text(texts), chain.image(images), chain.clean_text(texts)):
        assert torch.allclose(rows.norm(dim=-1), torch.ones(len(rows)), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_does_not_depend_on_its_batch(make_store, compose, method):
    store = make_store()
    chain = Alignment.from_store(compose("image_captioning", f"alignment={method}").alignment.steps, store)
    images = store.images("test")
    alone = torch.cat([chain.image(row[None]) for row in images])
    assert torch.allclose(chain.image(images), alone, atol=1e-5)


def test_centring_closes_the_mean_gap_and_uses_each_modalitys_own_mean(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], store)
    center = chain.steps[1]
    assert torch.allclose(
        center.text(store.texts("train"), torch.zeros_like).mean(0), torch.zeros(store.dim), atol=1e-3
    )
    assert torch.allclose(center.image(store.images("pretrain")).mean(0), torch.zeros(store.dim), atol=1e-3)
    assert not torch.allclose(center.text_mean, center.image_mean, atol=0.05)


def test_a_corpus_without_images_can_be_centred_but_no_image_can(make_store, monkeypatch):
    store = make_store()
    monkeypatch.delitem(store._statistics, "image_mean")
    chain = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], store)
    rebuilt = Alignment(chain.options())
    rebuilt.load_state_dict(chain.state_dict())
    for each in (chain, rebuilt):
        assert each.text(store.texts("train")).isfinite().all()
        with pytest.raises(ValueError, match="has no image mean"):
            each.image(store.images("test"))


def test_a_mistake_inside_a_step_is_not_taken_for_a_wrong_option(make_store, monkeypatch):
    def broken(*_):
        raise TypeError("a mistake")

    monkeypatch.setattr(TextMemory, "_fill", broken)
    with pytest.raises(TypeError, match="a mistake"):
        Alignment.from_store([NORMALIZE, {"step": "TextMemory"}, NORMALIZE], make_store())


@settings(deadline=None, max_examples=25)
@given(noise_std=st.floats(0.01, 1.0), seed=st.integers(0, 100))
def test_noise_has_the_standard_deviation_asked_for(noise_std, seed):
    step = step_class("GaussianNoise")(noise_std=noise_std)
    rows = torch.zeros(4000, 8)
    assert step.text(rows, seeded(seed)).std().item() == pytest.approx(noise_std, rel=0.05)
    assert torch.equal(step.image(rows), rows)


def test_the_papers_variance_leaves_the_cosine_that_the_config_says():
    rows = F.normalize(torch.randn(4000, 512, generator=torch.Generator().manual_seed(0)), dim=-1)
    chain = Alignment([{"step": "GaussianNoise", "noise_std": math.sqrt(0.016)}, NORMALIZE])
    assert (chain.text(rows, seeded(1)) * rows).sum(-1).mean().item() == pytest.approx(0.33, abs=0.01)


def test_text_noise_is_fresh_at_every_call_and_reproducible_from_its_sampler(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "GaussianNoise", "noise_std": 0.1}, NORMALIZE], store)
    texts = store.texts("train")
    assert not torch.equal(chain.text(texts), chain.text(texts))
    assert torch.equal(chain.text(texts, seeded(3)), chain.text(texts, seeded(3)))


def test_text_memory_is_the_softmax_weighted_mean_of_the_training_texts(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory", "temperature": 0.05}, NORMALIZE], store)
    memory, images = store.texts("train"), store.images("test")
    for image, projected in zip(images, chain.image(images), strict=True):
        weights = [math.exp(float(image @ text) / 0.05) for text in memory]
        slow = sum(weight * text for weight, text in zip(weights, memory, strict=True)) / sum(weights)
        assert torch.allclose(projected, slow / slow.norm(), atol=1e-4)


def test_a_cold_text_memory_copies_the_nearest_text(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory", "temperature": 1e-4}, NORMALIZE], store)
    images, memory = store.images("test"), F.normalize(store.texts("train"), dim=-1)
    assert torch.allclose(chain.image(images), memory[(images @ memory.T).argmax(-1)], atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_chain_is_rebuilt_from_its_json_and_tensors(make_store, compose, method):
    store = make_store()
    chain = Alignment.from_store(compose("image_captioning", f"alignment={method}").alignment.steps, store)
    rebuilt = Alignment(chain.options())
    rebuilt.load_state_dict(chain.state_dict())
    rebuilt.restore()
    assert torch.equal(rebuilt.image(store.images("test")), chain.image(store.images("test")))


def test_a_large_memory_is_saved_by_its_stores_hash_and_refused_when_that_changed(make_store, monkeypatch):
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory"}, NORMALIZE], store)
    assert not any("memory" in name for name in chain.state_dict())
    rebuilt = Alignment(chain.options()).restore()
    assert torch.equal(rebuilt.image(store.images("test")), chain.image(store.images("test")))
    options = chain.options()
    options[1]["store_hash"] = "0" * 64
    with pytest.raises(ValueError, match="but the store there has hash"):
        Alignment(options).restore()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"step": "Whiten"}, NORMALIZE], "Unknown alignment step 'Whiten'"),
        ([NORMALIZE, CENTER], "must end with Normalize"),
        ([CENTER, NORMALIZE], "must directly follow one Normalize"),
        ([NORMALIZE, {"step": "GaussianNoise", "noise": 1}, NORMALIZE], "does not take the options"),
        ([NORMALIZE, {"step": "GaussianNoise"}, NORMALIZE], "missing a required argument: 'noise_std'"),
        ([{"step": "Normalize", "dim": 16}], "does not take the options"),
        ([NORMALIZE, {"step": "DiffusionBridge", "diffusion": "x", "step_count": 5}, NORMALIZE], "step_count"),
        ([NORMALIZE, {"step": "GaussianNoise", "noise_std": -1}, NORMALIZE], "noise_std=-1"),
        ([NORMALIZE, {"step": "GaussianNoise", "noise_std": "abc"}, NORMALIZE], "noise_std='abc' must be a number"),
        ([NORMALIZE, {"step": "TextMemory", "temperature": 0}, NORMALIZE], "temperature=0"),
        ([NORMALIZE, {"step": "TextMemory", "memory_rows": 1000}, NORMALIZE], "memory_rows=1000"),
        ([{"noise_std": 1}, NORMALIZE], "needs a key 'step'"),
    ],
)
def test_bad_chains_are_refused_in_one_sentence(make_store, steps, message):
    with pytest.raises(ValueError, match=message):
        Alignment.from_store(steps, make_store())


def test_the_registry_names_steps_and_nothing_else():
    assert all(issubclass(step_class(name), Step) for name in STEP_MODULES)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ([{"step": "Normalize"}], [{"step": "Normalize"}, {"step": "TextMemory"}, {"step": "Normalize"}], True),
        ([{"step": "TextMemory", "temperature": 0.1}], [], True),
        ([{"step": "DiffusionBridge", "image_timestep": 3}], [{"step": "DiffusionBridge", "image_timestep": 4}], True),
        ([{"step": "DiffusionBridge", "text_timestep": 3}], [{"step": "DiffusionBridge", "text_timestep": 4}], False),
        ([{"step": "DiffusionBridge", "eta": 0.0}], [{"step": "DiffusionBridge", "eta": 0.5}], False),
        ([{"step": "GaussianNoise", "noise_std": 1}], [{"step": "GaussianNoise", "noise_std": 2}], False),
        ([{"step": "Center"}, {"step": "Normalize"}], [{"step": "Normalize"}, {"step": "Center"}], False),
        (
            [{"step": "DiffusionBridge", "image_timestep": 3}],
            [{"step": "DiffusionBridge", "image_timestep": "auto"}],
            False,
        ),
        ([{"step": "ModalityTranslation", "translation": "run"}], [], False),
        (
            [{"step": "GaussianNoise", "noise_std": "auto", "estimate": {"data": "pairs"}}],
            [{"step": "GaussianNoise", "noise_std": "auto", "estimate": {"data": "unpaired"}}],
            False,
        ),
    ],
)
def test_the_text_side_of_a_config_leaves_out_what_concerns_images_alone(one, other, alike):
    assert (text_side(one) == text_side(other)) is alike
