"""Fixtures: a comparison on a tiny store."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

DDPM = ["loop.steps=4", "loop.batch_size=16", "denoiser.width=16", "denoiser.depth=1", "validation_rows=8"]
CAPTIONER = [
    "loop.steps=60",
    "loop.learning_rate=1e-2",
    "loop.batch_size=16",
    "loop.warmup_steps=1",
    "loop.precision='no'",
    "decoder.config.n_layer=1",
]
CAPTIONER += ["decoder.config.n_embd=16", "decoder.config.n_head=2", "validation_captions=8"]
VARIANTS = {
    "bridge_snr": {"alignment": "diffusion_bridge", "ddpm": ["diffusion.loss_weighting=min-snr"]},
    "bridge_early": {"alignment": "diffusion_bridge", "captioner": ["alignment.image_timestep=100"]},
    "c3": {"captioner": ["alignment.noise_std=0.2"]},
}


@pytest.fixture
def config(make_store, compose, tmp_path):
    """A comparison on a tiny store, with everything that it writes in tmp_path."""
    store = make_store(images=8, texts=60)
    config = compose(
        "compare_methods",
        "dataset=tables",
        "dataset.name=tiny",
        f"dataset.root={store.path.parent}",
        f"store={store.path}",
        "dataset.pairs_split=pretrain",
        "dataset.image_mean_split=pretrain",
        f"runs_dir={tmp_path}/outputs",
        f"output_dir={tmp_path}/table",
        f"cache_dir={tmp_path}/cache",
        "metrics=[CIDEr]",
        "seeds=[0,1]",
    )
    config.ddpm, config.captioner = DDPM, CAPTIONER
    OmegaConf.set_struct(config, False)  # as a config file may, add variants
    return OmegaConf.merge(config, {"variants": VARIANTS})


@pytest.fixture
def without_java(monkeypatch):
    """The tiny store's captions are lower-case words already."""
    for module in ("metrics", "ptb_tokenizer"):
        monkeypatch.setattr(f"evaluation.captions.{module}.ptb_tokenize", list)
