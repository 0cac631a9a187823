"""Captioners of the peers' methods: each trains, comes back from its folder, captions, and says if it used pairs."""

from __future__ import annotations

import pytest
import torch

from image_captioning.captioner import Captioner
from image_captioning.training_run import train

SMALL = (
    "decoder.config.n_layer=1", "decoder.config.n_embd=16", "decoder.config.n_head=2", "decoder.mapper.prefix_length=2",
    "loop.batch_size=20", "loop.warmup_steps=1", "loop.steps=2", "loop.precision=no", "validation_captions=8",
)  # fmt: skip
METHODS = ["close", "realign", "realign_noise", "realign_diag", "gaussian_full", "knight", "image_like_retrieval"]
OVERRIDES = [[f"alignment={name}"] for name in [*METHODS, "decap_both_sides"]]
OVERRIDES += [
    ["alignment=gaussian_full", "alignment.covariance=pairs"],
    ["alignment=knight", "alignment.noise_std=auto"],
]


@pytest.mark.parametrize("overrides", OVERRIDES, ids=" ".join)
def test_a_captioner_trains_and_captions_and_says_whether_it_used_pairs(compose, make_store, tmp_path, overrides):
    store = make_store(images=8, texts=40)
    place = [f"store={store.path}", f"output_dir={tmp_path / 'run'}"]
    train(compose("image_captioning", *SMALL, *place, *overrides))
    captioner = Captioner.load(tmp_path / "run").cpu()
    assert captioner.provenance["uses_pairs"] is ("alignment.covariance=pairs" in overrides)
    rows = captioner.align_images(store.images("test"))
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(8))
    assert len(captioner.caption(rows, progress=False)) == 8
