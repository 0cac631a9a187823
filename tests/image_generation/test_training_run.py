"""image_generation.train on a tiny store: it learns, resumes exactly and reads no caption."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from embedding_space.store import EmbeddingStore
from image_generation.flow import Sampling
from image_generation.generator import ImageGenerator
from image_generation.task import GenerationTask
from image_generation.training_run import train


def metrics(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_and_the_checkpoint_draws(training_config, picture_store, tmp_path):
    config = training_config("run", "loop.steps=40", "loop.evaluate_every=2", "loop.learning_rate=3e-3", "samples=2")
    last = train(config)
    losses = [line["validation_loss"] for line in metrics(tmp_path / "run") if "validation_loss" in line]
    assert last["validation_loss"] == losses[-1] < 0.9 * losses[0]
    with Image.open(tmp_path / "run/samples.png") as samples:
        assert samples.size == (2 * 18 - 2, 16)
    model = ImageGenerator.load(tmp_path / "run")
    assert model.provenance["uses_pairs"] is False and model.provenance["image_split"] == "pretrain"
    rows = model.align(picture_store.texts("test")[:2])
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(2))
    drawn = model.generate(rows, [3, 4], Sampling(steps=2))
    assert drawn.shape == (2, 16, 16, 3) and drawn.dtype == torch.uint8
    assert train(config)["validation_loss"] == losses[-1]  # re-used


def test_a_resumed_run_equals_one_that_was_not_interrupted(training_config, tmp_path, monkeypatch):
    train(training_config("whole"))
    loss = GenerationTask.loss

    def interrupted(task, model, random):
        if random.step == 4:
            raise RuntimeError("the power is out")
        return loss(task, model, random)

    with monkeypatch.context() as patched:
        patched.setattr(GenerationTask, "loss", interrupted)
        with pytest.raises(RuntimeError, match="power"):
            train(training_config("cut", "loop.checkpoint_every=2"))
    train(training_config("cut", "loop.checkpoint_every=2"))
    whole, cut = (ImageGenerator.load(tmp_path / name).state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_training_reads_no_caption(training_config, picture_store, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        for reading in ("captions", "texts", "pairs"):
            patched.delattr(EmbeddingStore, reading)
        train(training_config("run", "samples=0", "loop.steps=2"))
    assert picture_store.tables.pairs("pretrain").size  # these images do have captions
    chain = ImageGenerator.load(tmp_path / "run").alignment
    assert torch.equal(chain.steps[1].training_mean, picture_store.mean("image"))
    assert torch.equal(chain.steps[1].inference_mean, picture_store.mean("text"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("validation_split=train", "has no images of split 'train'; its splits of images: pretrain, test, val"),
        ("validation_split=null validation_images=5000", "validation_images=5000 leaves none of the"),
        ("size=18", "A side of 18 does not divide by 4"),
        ("network.attention=[true]", r"network.attention has 1 entries for the 2 levels"),
        ("network.channels=[16,24]", "network.channels=24 is no multiple of network.groups=16"),
        ("autoencoder=nowhere", "autoencoder=nowhere is no autoencoder of diffusers that can be loaded"),
        ("sampling.steps=0", r"sampling.steps=0"),
    ],
)
def test_bad_options_are_refused_before_pictures_are_read(training_config, picture_store, override, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(training_config("bad", *override.split()))
    assert not (picture_store.path.parent / "pixels").exists()


def test_validation_images_may_be_held_out_of_the_training_images(training_config, tmp_path):
    train(training_config("run", "validation_split=null", "loop.steps=2"))
    assert ImageGenerator.load(tmp_path / "run").provenance["images"] == 35


def test_a_bridge_of_image_embeddings_brings_sentences_to_pictures(training_config, picture_store, compose, tmp_path):
    from ddpm.training_run import train as train_ddpm

    tiny = ("denoiser.width=32", "denoiser.depth=1", "denoiser.time_width=16", "loop.steps=2", "validation_rows=4")
    paths = (f"store={picture_store.path}", f"output_dir={tmp_path / 'ddpm'}")
    train_ddpm(compose("ddpm", "modality=images", *tiny, *paths))
    train(training_config("run", "alignment=memory_bridge", f"alignment.diffusion={tmp_path / 'ddpm'}", "loop.steps=2"))
    model = ImageGenerator.load(tmp_path / "run")
    assert model.align(picture_store.texts("val")).isfinite().all()
    name = training_config("x", "alignment=diffusion_bridge", "seed=3").alignment.diffusion
    assert name == "outputs/ddpm/demo_images_seed3"
