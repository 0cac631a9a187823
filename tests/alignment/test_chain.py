"""Alignment chains: the mathematics of each step, and chains that survive a checkpoint."""

from __future__ import annotations

import pytest
import torch

from alignment.chain import Alignment
from alignment.memory import TextMemory
from alignment.options import expand_steps
from image_captioning.alignments import STEPS

NORMALIZE, CENTER = {"step": "Normalize"}, {"step": "Center"}
METHODS = ("c1", "c2_collapse", "c2_corrupt", "c3", "decap_memory", "close", "realign", "realign_noise", "realign_diag")
METHODS += ("gaussian_full", "knight", "image_like_retrieval", "decap_both_sides")


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


def test_a_mistake_inside_a_step_is_not_taken_for_a_wrong_option(make_store, monkeypatch):
    def broken(*_):
        raise TypeError("a mistake")

    monkeypatch.setattr(TextMemory, "_fill", broken)
    with pytest.raises(TypeError, match="a mistake"):
        Alignment.from_store([NORMALIZE, {"step": "TextMemory"}, NORMALIZE], STEPS, make_store())


@pytest.mark.parametrize("method", METHODS)
def test_a_chain_is_rebuilt_from_its_json_and_tensors(make_store, compose, method):
    store = make_store()
    chain = method_chain(compose, method, store)
    rebuilt = Alignment.from_options(chain.options(), STEPS)
    rebuilt.load_state_dict(chain.state_dict())
    rebuilt.restore()
    assert torch.equal(rebuilt.inference_side(store.images("test")), chain.inference_side(store.images("test")))


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
