"""Painting by a pipeline of diffusers: one of random weights, in a folder."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from common import extras
from synthetic_images.stable_diffusion import StableDiffusionPainter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole Stable Diffusion pipeline of 16 x 16 pixels, of random weights."""
    diffusers = pytest.importorskip("diffusers")
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "dog</w>": 3, "a": 4, "d": 5, "o": 6, "g</w>": 7}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    small = {"layers_per_block": 1, "block_out_channels": (8, 16), "norm_num_groups": 4}
    pipeline = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(
            **small, latent_channels=4, sample_size=16,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=8,
                max_position_embeddings=7, eos_token_id=1, bos_token_id=0, pad_token_id=1,
            )
        ),
        tokenizer=CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=7),
        unet=diffusers.UNet2DConditionModel(
            **small, sample_size=8, cross_attention_dim=16, attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder / "tiny")
    return folder / "tiny"


def painter(folder, **options):
    return StableDiffusionPainter(**{"model": str(folder), "steps": 2, "precision": "fp32", **options})


def test_pictures_depend_on_their_seed_and_not_on_the_batch(folder):
    captions, seeds = ["a dog", "a", "dog a dog"], [11, 12, 2**62]
    one = [drawn.picture for drawn in painter(folder, batch_size=1).draw(captions, seeds)]
    two = [drawn.picture for drawn in painter(folder, batch_size=2).draw(captions, seeds)]
    assert [picture.size for picture in one] == [(16, 16)] * 3
    assert len({picture.tobytes() for picture in one}) == 3
    for first, second in zip(one, two, strict=True):
        assert max(abs(a - b) for a, b in zip(first.tobytes(), second.tobytes(), strict=True)) <= 1


def test_options_reach_the_pipeline(folder):
    def draw(**options):
        return painter(folder, **options).draw(["a dog"], [1])[0].picture

    usual = draw()
    assert draw(height=24, width=32).size == (32, 24)
    for options in (
        {"steps": 3}, {"guidance": 3.0}, {"negative_prompt": "a"}, {"prompt": "a {}"}, {"scheduler": "DDPMScheduler"}
    ):  # fmt: skip
        assert draw(**options).tobytes() != usual.tobytes(), options
    assert type(painter(folder, scheduler="DDPMScheduler").pipeline.scheduler).__name__ == "DDPMScheduler"
    half = painter(folder, precision="bf16")
    assert half.pipeline.unet.dtype == torch.bfloat16 and half.facts["precision"] == "bf16"


def test_blacked_out_pictures_are_left_out(folder):
    drawer = painter(folder)
    real = drawer.pipeline

    class Checked:
        def __call__(self, prompt, generator, num_inference_steps, guidance_scale):
            output = real(prompt=prompt, generator=generator, num_inference_steps=num_inference_steps)
            output.nsfw_content_detected = [text == "a" for text in prompt]
            return output

    drawer.__dict__["pipeline"] = Checked()
    assert [drawn.picture is None for drawn in drawer.draw(["a dog", "a"], [1, 2])] == [False, True]


def test_what_is_missing_or_wrong_is_named(folder, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"painter\.model=.*nowhere is no text-to-image pipeline.*hf download"):
        _ = painter(tmp_path / "nowhere").pipeline
    with pytest.raises(ValueError, match=r"painter\.scheduler=FastScheduler is no scheduler of diffusers"):
        _ = painter(folder, scheduler="FastScheduler").pipeline
    with pytest.raises(ValueError, match=r"painter\.prompt='a photo' must have \{\} where the caption goes"):
        painter(folder, prompt="a photo")
    with pytest.raises(ValueError, match=r"painter\.precision='int8' must"):
        painter(folder, precision="int8")
    drawer = painter(folder, negative_prompt="a")
    drawer.__dict__["pipeline"] = type("Flux", (), {"__call__": lambda self, prompt, num_inference_steps: None})()
    with pytest.raises(ValueError, match=r"Flux \(painter\.model=.*\) takes no guidance_scale"):
        drawer.draw(["a dog"], [0])
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'diffusers is not installed: pip install -e "\.\[generation\]"'):
        painter(folder)
    assert "diffusers" in sys.modules
