"""A text memory may stand before the bridge: it changes images alone, so the diffusion model still fits the texts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from alignment.chain import Alignment
from ddpm.diffusion import TextDiffusion
from image_captioning.alignments import STEPS

NORMALIZE, CENTER = {"step": "Normalize"}, {"step": "Center"}
MEMORY = {"step": "TextMemory", "temperature": 0.1}


@pytest.fixture
def bridge(make_store, tmp_path):
    """A chain's last step over an untrained diffusion model whose prefix is the default one of the store."""
    store = make_store()
    model = TextDiffusion(store.dim, {"kind": "mlp", "width": 16, "depth": 1})
    model.prefix = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE], STEPS, store)
    model.save_pretrained(tmp_path / "ddpm")
    options = {"text_timestep": 300, "text_steps": 1, "image_timestep": 100, "image_steps": 1, "eta": 0.0}
    return store, {"step": "DiffusionBridge", "diffusion": str(tmp_path / "ddpm"), **options}


def test_texts_pass_the_memory_and_images_do_not(bridge):
    store, step = bridge
    plain = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE, step, NORMALIZE], STEPS, store)
    both = Alignment.from_store([NORMALIZE, CENTER, NORMALIZE, MEMORY, step, NORMALIZE], STEPS, store)
    texts, images = store.texts("val"), store.images("val")
    assert torch.equal(plain.training_side(texts, torch.zeros_like), both.training_side(texts, torch.zeros_like))
    centred = F.normalize(F.normalize(images, dim=-1) - store.mean("image"), dim=-1)
    memory = F.normalize(F.normalize(store.texts("train"), dim=-1) - store.mean("text"), dim=-1)
    projected = F.normalize((centred @ memory.T / 0.1).softmax(-1) @ memory, dim=-1)
    expected = both.steps[-1].inference_side(both.steps[-2].inference_side(projected))
    torch.testing.assert_close(both.inference_side(images), expected, rtol=1e-4, atol=1e-5)


def test_a_step_that_changes_training_rows_is_still_refused(bridge):
    store, step = bridge
    with pytest.raises(ValueError, match="was trained on rows after Normalize, Center"):
        Alignment.from_store([NORMALIZE, CENTER, step, NORMALIZE], STEPS, store)
