"""scripts/export.py: half the size, the same captioner."""

from __future__ import annotations

import json

import pytest
import torch

from embedding_space.alignment import Alignment
from image_captioning.captioner import Captioner
from image_captioning.tokenizer import train_tokenizer
from scripts.export import export


@pytest.fixture
def exported(make_store, tmp_path, compose):
    """(a captioner with a text memory, its export, the store)"""
    store = make_store()
    memory = {"step": "TextMemory", "temperature": 0.1}
    alignment = Alignment.from_store([{"step": "Normalize"}, memory, {"step": "Normalize"}], store)
    tokenizer = train_tokenizer(store.captions("train"))
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    torch.manual_seed(0)
    captioner = Captioner(
        dim=store.dim,
        gpt2={"vocab_size": len(tokenizer), "n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 64, **ends},
        mapper={"kind": "linear", "prefix_length": 2},
        alignment=alignment.options(),
        encoder={"name": "fake"},
    )
    captioner.alignment.load_state_dict(alignment.state_dict())
    captioner.tokenizer = tokenizer
    captioner.save_pretrained(tmp_path / "run")
    config = compose("export", f"checkpoint={tmp_path / 'run'}", f"to={tmp_path / 'shared'}")
    return captioner, export(config), store, config


def test_an_export_is_half_as_large_and_says_the_same(exported):
    captioner, folder, store, _ = exported
    size = (folder / "model.safetensors").stat().st_size
    assert size < 0.6 * (folder.parent / "run" / "model.safetensors").stat().st_size
    loaded = Captioner.load(folder).cpu()
    images = store.images("val")
    torch.testing.assert_close(loaded.align_images(images), captioner.align_images(images), rtol=0, atol=2e-3)
    assert loaded.caption_images(images, progress=False) == captioner.eval().caption_images(images, progress=False)
    assert json.loads((folder / "manifest.json").read_text())["encoder"] == {"name": "fake"}


def test_a_folder_that_holds_a_captioner_is_kept(exported):
    config = exported[3]
    with pytest.raises(ValueError, match=r"holds a captioner already: give to= another folder, or overwrite=true"):
        export(config)


def test_an_evaluation_that_is_missing_is_named(exported, tmp_path):
    config = exported[3]
    config.overwrite, config.evaluation = True, str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere: run python scripts/eval_coco.py"):
        export(config)
