"""Methods of a checkpoint's parts: each one's rows are those of the chain that its name says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from alignment.memory import TextMemory
from alignment.steps import Center, Normalize
from ddpm.bridge import DiffusionBridge
from image_captioning.captioner import Captioner
from web_app.methods import methods_of


@pytest.fixture(scope="module")
def photos() -> Captioner:
    return Captioner.load("photos")


def rows(count: int = 5) -> torch.Tensor:
    return F.normalize(torch.randn(count, 256, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_each_method_is_the_chain_of_its_name(photos):
    methods = {method.name: method for method in methods_of(photos, "memory_bridge", "image", True)}
    assert list(methods) == ["raw", "collapse", "memory", "bridge", "memory_bridge", "consensus"]
    center, memory, bridge = (
        next(step for step in photos.alignment.steps if isinstance(step, kind))
        for kind in (Center, TextMemory, DiffusionBridge)
    )
    by_hand = {
        "raw": [Normalize()],
        "collapse": [Normalize(), center, Normalize()],
        "memory": [Normalize(), center, Normalize(), memory, Normalize()],
        "bridge": [Normalize(), center, Normalize(), bridge, Normalize()],
    }
    images = rows()
    for name, steps in by_hand.items():
        expected = Alignment(steps).inference_side(images)
        assert torch.allclose(methods[name].chain.inference_side(images), expected, atol=1e-6)
    assert methods["memory_bridge"].chain is photos.alignment and methods["consensus"].chain is photos.alignment
    assert methods["consensus"].consensus and not methods["memory_bridge"].consensus


def test_a_checkpoint_has_the_methods_of_its_parts_alone():
    sounds = Captioner.load("sounds")
    methods = methods_of(sounds, "c3", "sound", False)
    assert [method.name for method in methods] == ["raw", "collapse"]
    assert methods[1].chain is sounds.alignment and "sounds" in methods[1].does


def test_a_method_says_what_its_steps_do_and_no_more(photos):
    said = {method.name: method.does for method in methods_of(photos, "memory_bridge", "image", False)}
    assert said == {
        "raw": "the image's embedding as it is (C³'s c1)",
        "collapse": "− the mean of the images",
        "memory": "− the mean, then a weighted mean of similar training texts",
        "bridge": "− the mean, then denoised by the text diffusion model",
        "memory_bridge": "− the mean, memory, then denoised by the text diffusion model",
    }
    without = photos.with_alignment(Alignment([s for s in photos.alignment.steps if not isinstance(s, Center)]))
    said = {method.name: method.does for method in methods_of(without, "memory_bridge", "image", False)}
    assert said == {
        "raw": "the image's embedding as it is (C³'s c1)",
        "memory": "a weighted mean of similar training texts",
        "bridge": "denoised by the text diffusion model",
        "memory_bridge": "memory, then denoised by the text diffusion model",
    }


def test_the_sliders_change_the_bridge_and_nothing_else(photos):
    methods = {method.name: method for method in methods_of(photos, "memory_bridge", "image", False)}
    before = methods["memory_bridge"].bridge
    moved = methods["memory_bridge"].with_bridge(400, 3)
    assert (moved.bridge.image_timestep, moved.bridge.image_steps) == (400, 3)
    assert (before.image_timestep, before.image_steps) == (100, 1)  # others' requests have theirs
    assert not torch.equal(moved.chain.inference_side(rows()), photos.alignment.inference_side(rows()))
    assert methods["bridge"].with_bridge(None, None) is methods["bridge"]
    with pytest.raises(ValueError, match="method=raw has no diffusion step, so image_timestep"):
        methods["raw"].with_bridge(400, None)
    with pytest.raises(ValueError, match="image_timestep=1001 must be in"):
        methods["bridge"].with_bridge(1001, 1)
