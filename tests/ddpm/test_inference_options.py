"""The inference side of a chain may change after training, where the training side stays as the decoder knows it."""

from __future__ import annotations

import pytest
import torch

from alignment.chain import Alignment
from ddpm.diffusion import TextDiffusion
from image_captioning.alignments import STEPS

NORMALIZE, CENTER = {"step": "Normalize"}, {"step": "Center"}
PREFIX = [NORMALIZE, CENTER, NORMALIZE]
MEMORY = {"step": "TextMemory", "temperature": 0.1}


def seeded(like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def chain(make_store, tmp_path):
    """A factory of chains over an untrained diffusion model, chain(text_timestep=..., memory=...), with its store."""
    store = make_store()
    model = TextDiffusion(store.dim, {"kind": "mlp", "width": 16, "depth": 1})
    model.prefix = Alignment.from_store(PREFIX, STEPS, store)
    model.save_pretrained(tmp_path / "ddpm")
    usual = {"text_timestep": 300, "text_steps": 1, "image_timestep": 600, "image_steps": 2, "eta": 0.0}

    def made(memory: dict | None = MEMORY, **options) -> Alignment:
        bridge = {"step": "DiffusionBridge", "diffusion": str(tmp_path / "ddpm"), **usual, **options}
        return Alignment.from_store([*PREFIX, *([memory] if memory else []), bridge, NORMALIZE], STEPS, store)

    made.store = store
    return made


@pytest.mark.parametrize(
    ("options", "memory", "bridge"),
    [
        ({"image_timestep": 200}, {}, {"image_timestep": 200}),
        ({"image_steps": 5, "image_timestep": 50}, {}, {"image_steps": 5, "image_timestep": 50}),
        ({"temperature": 0.02}, {"temperature": 0.02}, {}),
        ({"memory_rows": 17, "image_steps": 1}, {"memory_rows": 17}, {"image_steps": 1}),
        ({}, {}, {}),
    ],
)
def test_another_image_side_is_that_of_a_chain_built_so(chain, options, memory, bridge):
    before = chain()
    changed, built = before.with_inference_options(options), chain({**MEMORY, **memory}, **bridge)
    texts, images = chain.store.texts("val"), chain.store.images("val")
    assert (
        torch.equal(changed.inference_side(images), built.inference_side(images))
        and changed.options() == built.options()
    )
    assert torch.equal(changed.inference_side(images), before.inference_side(images)) == (not options)
    assert torch.equal(changed.training_side(texts, seeded), before.training_side(texts, seeded))
    assert torch.equal(changed.clean_side(texts), before.clean_side(texts))
    assert before.options() == chain().options()  # itself unchanged


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"eta": 0.5},
            r"no option image_side.eta; known: temperature \(TextMemory\), neighbors \(TextMemory\), "
            r"probes \(TextMemory\), memory_rows \(Text",
        ),
        ({"text_timestep": 5}, r"no option image_side.text_timestep"),
        ({"image_timestep": 1001}, r"image_side\.image_timestep=1001 must be in 1\.\.1000"),
        ({"image_steps": 601}, r"image_side\.image_steps=601 must be in 1\.\.image_side\.image_timestep=600"),
        ({"temperature": 0}, r"image_side\.temperature=0 must be greater than 0"),
        ({"memory_rows": 201}, r"image_side\.memory_rows=201 must be in 1\.\.200"),
    ],
)
def test_what_is_no_option_of_the_image_side_is_refused(chain, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        chain().with_inference_options(options)


def test_chains_of_one_text_side_may_take_each_others_place(chain):
    plain, both = chain(memory=None), chain()
    dim = chain.store.dim
    plain.check_training_side(both, dim)
    both.check_training_side(plain, dim)
    collapse = Alignment.from_store(PREFIX, STEPS, chain.store)
    collapse.check_training_side(chain(text_timestep=None), dim)
    collapse.check_training_side(Alignment.from_store([*PREFIX, MEMORY, NORMALIZE], STEPS, chain.store), dim)


def test_chains_of_other_text_sides_are_refused(chain):
    dim, collapse = chain.store.dim, Alignment.from_store(PREFIX, STEPS, chain.store)
    noised = Alignment.from_store(
        [*PREFIX, {"step": "GaussianNoise", "noise_std": 0.01}, NORMALIZE], STEPS, chain.store
    )
    moved = Alignment.from_store(PREFIX, STEPS, chain.store)
    moved.steps[1].training_mean[0] += 0.01
    for one, other in ((chain(), chain(text_timestep=299)), (chain(), collapse), (collapse, noised), (collapse, moved)):
        with pytest.raises(
            ValueError, match="something else in training than the alignment that the model was trained"
        ):
            one.check_training_side(other, dim)
