"""A generator of latents, with a tiny autoencoder of random weights in diffusers' format."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from image_generation.autoencoder import Autoencoder
from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator
from image_generation.training_run import train


@pytest.fixture
def autoencoder_folder(tmp_path) -> str:
    torch.manual_seed(0)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, latent_channels=2, scaling_factor=0.5,
    )  # fmt: skip
    model.save_pretrained(tmp_path / "autoencoder")
    return str(tmp_path / "autoencoder")


def test_latents_are_the_scaled_means_and_are_kept(autoencoder_folder, tmp_path):
    autoencoder = Autoencoder(autoencoder_folder, torch.device("cpu"))
    pixels = np.random.default_rng(0).integers(256, size=(5, 8, 8, 3), dtype=np.uint8)
    latents = autoencoder.encode_all(pixels, tmp_path / "latents.npy", batch_size=2)
    assert latents.shape == (5, 2, 4, 4) and latents.dtype == np.float16
    one = torch.from_numpy(pixels[3]).permute(2, 0, 1)[None].float() / 127.5 - 1
    slow = 0.5 * autoencoder.model.encode(one).latent_dist.mean[0]
    torch.testing.assert_close(torch.from_numpy(latents[3]).float(), slow, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(autoencoder.decode(slow[None]), autoencoder.model.decode(2 * slow[None]).sample)
    autoencoder.model = None  # they are read, not made again
    assert np.array_equal(autoencoder.encode_all(pixels, tmp_path / "latents.npy"), latents)


def test_a_generator_of_latents_draws_pictures(training_config, autoencoder_folder, picture_store, tmp_path):
    train(training_config("run", f"autoencoder={autoencoder_folder}", "network.patch=1", "loop.steps=2"))
    model = ImageGenerator.load(tmp_path / "run")
    assert (model.planes, model.side, model.size) == (2, 8, 16)
    drawn = model.generate(model.align(picture_store.texts("test")[:2]), [0, 1], Sampling(steps=2))
    assert drawn.shape == (2, 16, 16, 3)
    assert len(list((picture_store.path.parent / "pixels").glob("pretrain_16_*"))) == 2  # pixels and latents
