"""A captioner trained with an estimated alignment records value and data, and is marked where pairs were used."""

from __future__ import annotations

import pytest

from image_captioning.captioner import Captioner
from image_captioning.training_run import train

SMALL = (
    "decoder.config.n_layer=1", "decoder.config.n_embd=16", "decoder.config.n_head=2", "decoder.mapper.prefix_length=2",
    "loop.batch_size=16", "loop.steps=2", "loop.warmup_steps=1", "loop.precision='no'", "validation_captions=8",
)  # fmt: skip


@pytest.mark.parametrize("data", ["unpaired", "pairs"])
def test_estimates_are_in_the_checkpoint(compose, make_store, tmp_path, capsys, data):
    store = make_store(images=20, texts=60)
    overrides = [
        f"store={store.path}",
        f"output_dir={tmp_path}/run",
        "alignment=c3_auto",
        f"alignment.estimate.data={data}",
    ]
    config = compose("image_captioning", *SMALL, *overrides)
    assert config.name.endswith(f"c3_auto_{data}_seed0")
    train(config)
    assert "alignment.noise_std=auto: " in capsys.readouterr().out
    captioner = Captioner.load(tmp_path / "run")
    (found,) = captioner.provenance["estimates"]
    assert captioner.provenance["uses_pairs"] == found["uses_pairs"] == (data == "pairs")
    assert captioner.alignment.uses_pairs == (data == "pairs")
    assert captioner.alignment.with_inference_options({}).uses_pairs == (data == "pairs")
    assert captioner.alignment.options()[2]["noise_std"] == found["value"] > 0
    train(config)
    assert "Already trained" in capsys.readouterr().out
