"""Alignment chains: the mathematics of each step, and chains that survive a checkpoint."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.chain import Alignment
from alignment.memory import TextMemory
from alignment.options import expand_steps, step_entries, training_side
from alignment.steps import GaussianNoise
from common.paths import CONFIGS
from image_captioning.alignments import STEPS

NORMALIZE, CENTER = {"step": "Normalize"}, {"step": "Center"}
METHODS = ("c1", "c2_collapse", "c2_corrupt", "c3", "decap_memory")


def seeded(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def method_chain(compose, method, store):
    entries = expand_steps(compose("image_captioning", f"alignment={method}").alignment, STEPS)
    return Alignment.from_store(entries, STEPS, store)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_unit_rows_on_both_sides(make_store, compose, method):
    store = make_store()
    chain = method_chain(compose, method, store)
    texts, images = store.texts("train"), store.images("test")
    for rows in (chain.training_side(texts), chain.inference_side(images), chain.clean_side(texts)):
        assert torch.allclose(rows.norm(dim=-1), torch.ones(len(rows)), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_does_not_depend_on_its_batch(make_store, compose, method):
    store = make_store()
    chain = method_chain(compose, method, store)
    images = store.images("test")
    alone = torch.cat([chain.inference_side(row[None]) for row in images])
    assert torch.allclose(chain.inference_side(images), alone, atol=1e-5)


def test_centring_closes_the_mean_gap_and_uses_each_modalitys_own_mean(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], STEPS, store)
    center = chain.steps[1]
    assert torch.allclose(
        center.training_side(store.texts("train"), torch.zeros_like).mean(0), torch.zeros(store.dim), atol=1e-3
    )
    assert torch.allclose(center.inference_side(store.images("pretrain")).mean(0), torch.zeros(store.dim), atol=1e-3)
    assert not torch.allclose(center.text_mean, center.image_mean, atol=0.05)


def test_a_corpus_without_images_can_be_centred_but_no_image_can(make_store, monkeypatch):
    store = make_store()
    monkeypatch.delitem(store._statistics, "image_mean")
    chain = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], STEPS, store)
    rebuilt = Alignment.from_options(chain.options(), STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    for each in (chain, rebuilt):
        assert each.training_side(store.texts("train")).isfinite().all()
        with pytest.raises(ValueError, match="has no image mean"):
            each.inference_side(store.images("test"))


def test_a_mistake_inside_a_step_is_not_taken_for_a_wrong_option(make_store, monkeypatch):
    def broken(*_):
        raise TypeError("a mistake")

    monkeypatch.setattr(TextMemory, "_fill", broken)
    with pytest.raises(TypeError, match="a mistake"):
        Alignment.from_store([NORMALIZE, {"step": "TextMemory"}, NORMALIZE], STEPS, make_store())


@settings(deadline=None, max_examples=25)
@given(noise_std=st.floats(0.01, 1.0), seed=st.integers(0, 100))
def test_noise_has_the_standard_deviation_asked_for(noise_std, seed):
    step = GaussianNoise(noise_std=noise_std)
    rows = torch.zeros(4000, 8)
    assert step.training_side(rows, seeded(seed)).std().item() == pytest.approx(noise_std, rel=0.05)
    assert torch.equal(step.inference_side(rows), rows)


def test_the_papers_variance_leaves_the_cosine_that_the_config_says():
    rows = F.normalize(torch.randn(4000, 512, generator=torch.Generator().manual_seed(0)), dim=-1)
    chain = Alignment.from_options([{"step": "GaussianNoise", "noise_std": math.sqrt(0.016)}, NORMALIZE], STEPS)
    assert (chain.training_side(rows, seeded(1)) * rows).sum(-1).mean().item() == pytest.approx(0.33, abs=0.01)


def test_text_noise_is_fresh_at_every_call_and_reproducible_from_its_sampler(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "GaussianNoise", "noise_std": 0.1}, NORMALIZE], STEPS, store)
    texts = store.texts("train")
    assert not torch.equal(chain.training_side(texts), chain.training_side(texts))
    assert torch.equal(chain.training_side(texts, seeded(3)), chain.training_side(texts, seeded(3)))


def test_text_memory_is_the_softmax_weighted_mean_of_the_training_texts(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory", "temperature": 0.05}, NORMALIZE], STEPS, store)
    memory, images = store.texts("train"), store.images("test")
    for image, projected in zip(images, chain.inference_side(images), strict=True):
        weights = [math.exp(float(image @ text) / 0.05) for text in memory]
        slow = sum(weight * text for weight, text in zip(weights, memory, strict=True)) / sum(weights)
        assert torch.allclose(projected, slow / slow.norm(), atol=1e-4)


def test_a_cold_text_memory_copies_the_nearest_text(make_store):
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory", "temperature": 1e-4}, NORMALIZE], STEPS, store)
    images, memory = store.images("test"), F.normalize(store.texts("train"), dim=-1)
    assert torch.allclose(chain.inference_side(images), memory[(images @ memory.T).argmax(-1)], atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_chain_is_rebuilt_from_its_json_and_tensors(make_store, compose, method):
    store = make_store()
    chain = method_chain(compose, method, store)
    rebuilt = Alignment.from_options(chain.options(), STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    rebuilt.restore()
    assert torch.equal(rebuilt.inference_side(store.images("test")), chain.inference_side(store.images("test")))


def test_a_large_memory_is_saved_by_its_stores_hash_and_refused_when_that_changed(make_store, monkeypatch):
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    store = make_store()
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory"}, NORMALIZE], STEPS, store)
    assert not any("memory" in name for name in chain.state_dict())
    rebuilt = Alignment.from_options(chain.options(), STEPS).restore()
    assert torch.equal(rebuilt.inference_side(store.images("test")), chain.inference_side(store.images("test")))
    options = chain.options()
    options[1]["store_hash"] = "0" * 64
    with pytest.raises(ValueError, match="but the store there has hash"):
        Alignment.from_options(options, STEPS).restore()


def test_a_large_memory_of_fewer_captions_is_fetched_from_the_same_part(make_store, monkeypatch):
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    few = make_store().with_captions(30)
    chain = Alignment.from_store([NORMALIZE, {"step": "TextMemory"}, NORMALIZE], STEPS, few)
    rebuilt = Alignment.from_options(json.loads(json.dumps(chain.options())), STEPS).restore()
    assert torch.equal(rebuilt.steps[1].memory, F.normalize(few.texts("train"), dim=-1)) and rebuilt.hash == chain.hash


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"step": "Whiten"}, NORMALIZE], "Unknown alignment step 'Whiten'"),
        ([NORMALIZE, CENTER], "must end with Normalize"),
        ([CENTER, NORMALIZE], "must directly follow one Normalize"),
        ([NORMALIZE, {"step": "GaussianNoise", "noise": 1}, NORMALIZE], "GaussianNoise has no option 'noise'"),
        ([NORMALIZE, {"step": "GaussianNoise"}, NORMALIZE], "missing .* argument: 'noise_std'"),
        ([{"step": "Normalize", "dim": 16}], "Normalize has no option 'dim'; its options: none"),
        ([NORMALIZE, {"step": "DiffusionBridge", "diffusion": "x", "step_count": 5}, NORMALIZE], "step_count"),
        ([NORMALIZE, {"step": "GaussianNoise", "noise_std": -1}, NORMALIZE], "noise_std=-1"),
        (
            [NORMALIZE, {"step": "GaussianNoise", "noise_std": "abc"}, NORMALIZE],
            "alignment.noise_std='abc' must be a valid number",
        ),
        ([NORMALIZE, {"step": "TextMemory", "temperature": 0}, NORMALIZE], "temperature=0"),
        ([NORMALIZE, {"step": "TextMemory", "memory_rows": 1000}, NORMALIZE], "memory_rows=1000"),
        ([{"noise_std": 1}, NORMALIZE], "needs a key 'step'"),
    ],
)
def test_bad_chains_are_refused_in_one_sentence(make_store, steps, message):
    with pytest.raises(ValueError, match=message):
        Alignment.from_store(steps, STEPS, make_store())


def test_a_checkpoint_with_options_that_its_steps_lack_is_refused():
    with pytest.raises(ValueError, match=r"Normalize does not take the options \{'dim': 16\}"):
        Alignment.from_options([{"step": "Normalize", "dim": 16}], STEPS)


def test_flat_options_reach_every_step_that_has_them():
    method = {
        "name": "mine",
        "noise_std": 0.1,
        "temperature": 0.5,
        "steps": ["Normalize", "GaussianNoise", "TextMemory"],
    }
    entries = [NORMALIZE, {"step": "GaussianNoise", "noise_std": 0.1}, {"step": "TextMemory", "temperature": 0.5}]
    assert step_entries(method, STEPS) == entries
    assert step_entries({"steps": entries}, STEPS) == entries  # whole entries stay as they are
    with pytest.raises(ValueError, match=r"alignment.sigma is an option of no step .*; known: estimate, noise_std"):
        step_entries({"steps": ["GaussianNoise"], "sigma": 1}, STEPS)
    with pytest.raises(ValueError, match="Unknown alignment step 'Whiten'"):
        step_entries({"steps": ["Whiten"]}, STEPS)


@pytest.mark.parametrize("name", [path.stem for path in (CONFIGS / "alignment").glob("*.yaml")])
def test_every_shipped_method_expands(compose, name):
    method = compose("image_captioning", f"alignment={name}").alignment
    names = list(method.steps)
    assert [entry["step"] for entry in expand_steps(method, STEPS)] == names
    assert expand_steps(method, STEPS) == method.steps  # once more changes nothing


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
def test_the_training_side_of_a_config_leaves_out_what_concerns_images_alone(one, other, alike):
    assert (training_side(one, STEPS) == training_side(other, STEPS)) is alike
