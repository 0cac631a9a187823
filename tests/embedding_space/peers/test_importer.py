"""Importing through the entry function, then both trainings on what was imported, as on any other data set."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
import torch

from comparison.prepare_data import prepare
from ddpm.training_run import train as train_ddpm
from image_captioning.training_run import train as train_captioner


def peer_split(start: int, images: int) -> dict:
    numbers = range(start, start + images)
    return {
        "images": {n: {"img_path": f"{n}.jpg", "embed": torch.randn(1, 16)} for n in numbers},
        "captions": {n: {"caption": f"a dog {n % 3}", "img_id": n, "embed": torch.randn(1, 16)} for n in numbers},
    }


@pytest.fixture
def options(tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        (tmp_path / f"{split}.pkl").write_bytes(pickle.dumps(peer_split(100 * number, 20)))
    where = ["dataset=tables", "dataset.name=peers", f"dataset.root={tmp_path}/data/peers", "encoder=imported"]
    files = [f"{split}={tmp_path}/{split}.pkl" for split in ("train", "val", "test")]
    return where, [*where, *files, f"output_dir={tmp_path}/import"]


def test_imported_embeddings_train_both_stages(options, compose, tmp_path, capsys):
    where, all_options = options
    store = prepare(compose("prepare_data", *all_options))
    assert "peers/imported: 60 images, 60 texts, 16 dimensions" in capsys.readouterr().out
    (tmp_path / "mean.pkl").write_bytes(pickle.dumps(store.mean("text")[None]))
    prepare(compose("prepare_data", *all_options, f"text_mean={tmp_path}/mean.pkl"))
    assert "has cosine 1.000000 with the one computed here" in capsys.readouterr().out
    loop = ["loop.steps=2", "loop.batch_size=4", "loop.precision='no'"]
    train_ddpm(compose("ddpm", *where, *loop, "denoiser.width=16", f"output_dir={tmp_path}/ddpm"))
    decoder = ["decoder.config.n_layer=1", "decoder.config.n_embd=16", "decoder.config.n_head=1"]
    bridge = f"alignment.diffusion={tmp_path}/ddpm"
    figures = train_captioner(
        compose("image_captioning", *where, *loop, *decoder, bridge, f"output_dir={tmp_path}/cap")
    )
    assert figures["text_loss"] > 0


def test_what_is_missing_is_said(options, compose, tmp_path):
    where, _ = options
    with pytest.raises(ValueError, match="Name at least one file"):
        prepare(compose("prepare_data", *where, f"output_dir={tmp_path}"))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pkl \(option train\)"):
        prepare(compose("prepare_data", *where, f"train={tmp_path}/nowhere.pkl", f"output_dir={tmp_path}"))
    with pytest.raises(ValueError, match="encoder=imported"):
        prepare(compose("prepare_data", *where, "train=x", "encoder=demo_clip", f"output_dir={tmp_path}"))


@pytest.mark.parametrize("option", ["patches=true", "text_splits=[val]", "encode=false"])
def test_options_that_an_import_does_not_have_are_refused(options, compose, option):
    name = option.partition("=")[0]
    with pytest.raises(ValueError, match=f"{name}=.* does nothing for the import of embeddings"):
        prepare(compose("prepare_data", *options[1], option))


def test_one_process_imports(options, compose, monkeypatch):
    two = SimpleNamespace(count=2, run_on_main=lambda work: 0)
    monkeypatch.setattr("comparison.prepare_data.Processes", lambda: two)
    with pytest.raises(ValueError, match="2 processes: embeddings are imported by one"):
        prepare(compose("prepare_data", *options[1]))


@pytest.mark.parametrize("option", ["text_split", "image_mean_split"])
def test_held_out_splits_are_refused_before_a_file_is_read(options, compose, tmp_path, option):
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.pkl").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match=rf"dataset\.{option}=Testing: .*held-out"):
        prepare(compose("prepare_data", *options[1], f"dataset.{option}=Testing"))
    assert not (tmp_path / "data").exists()
