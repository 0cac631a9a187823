"""The demo on another world than that of pictures, through its entry point."""

from __future__ import annotations

import pytest

from scripts.demo import run as run_demo

WORLD = [
    f"dataset.{split}_scenes={count}" for split, count in (("pretrain", 24), ("train", 40), ("val", 8), ("test", 10))
]
CAPTIONER = [
    "loop.steps=6", "loop.batch_size=16", "loop.warmup_steps=2", "loop.precision='no'", "decoder.config.n_layer=1",
    "decoder.config.n_embd=32", "decoder.config.n_head=2",
]  # fmt: skip


@pytest.mark.java
def test_the_demo_of_sounds_writes_a_report_that_plays_them(tmp_path, compose):
    config = compose(
        "demo", "modality=sound", f"output_dir={tmp_path}/demo", f"runs_dir={tmp_path}/outputs", "methods=[c3]",
        "metrics=[CIDEr]", "examples=2",
    )  # fmt: skip
    config.prepare = [*WORLD, f"dataset.root={tmp_path}/data/demo_sounds", "encoder.precision=fp32"]
    config.captioner = CAPTIONER
    result = run_demo(config)
    assert result.title == "Captioning sounds after training on text alone" and result.runs[0].result.images == 10
    report = (tmp_path / "demo/report.html").read_text()
    assert report.count("<audio") == 2 and "data:audio/flac" in report
    assert (tmp_path / "outputs/image_captioning/demo_sounds_c3_seed0/model.safetensors").exists()


def test_an_unknown_modality_of_the_demo_is_refused(compose):
    with pytest.raises(ValueError, match=r"Unknown modality 'smell' .*known: image, sound, video"):
        run_demo(compose("demo", "modality=smell"))
