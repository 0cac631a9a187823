"""scripts/export.py: half the size, the same captioner."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from alignment.chain import Alignment
from alignment.memory import TextMemory
from alignment.steps import Normalize
from evaluation.captions.scoring_options import Scoring
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.evaluate import evaluate_captioner
from image_captioning.export import _report_left, export
from image_captioning.inference_inputs import InferenceInputs
from image_captioning.tokenizer import train_tokenizer

MEMORY = [{"step": "Normalize"}, {"step": "TextMemory", "temperature": 0.1}, {"step": "Normalize"}]


@pytest.fixture
def exported(make_store, tmp_path, compose):
    """(a captioner with a text memory, its export, the store)."""
    store = make_store()
    alignment = Alignment.from_store(MEMORY, STEPS, store)
    tokenizer = train_tokenizer(store.captions("train"))
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    torch.manual_seed(0)
    captioner = Captioner(
        dim=store.dim,
        decoder={"vocab_size": len(tokenizer), "n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 64, **ends},
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


def test_a_memory_too_large_for_its_run_is_in_the_export(exported, tmp_path, monkeypatch):
    captioner, _, store, config = exported
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    captioner = captioner.with_alignment(Alignment.from_store(MEMORY, STEPS, store))
    captioner.save_pretrained(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["alignment"][1]["store"] == str(store.path)
    config.overwrite = True
    folder = export(config)
    shutil.rmtree(store.path)
    loaded = Captioner.load(folder).cpu()
    assert str(store.path.parent) not in (folder / "config.json").read_text()
    images = torch.eye(store.dim)
    torch.testing.assert_close(loaded.align_images(images), captioner.align_images(images), rtol=0, atol=2e-3)


def test_an_export_may_have_another_image_side(exported):
    *_, store, config = exported
    config.overwrite, config.image_side.temperature, config.image_side.memory_rows = True, 0.5, 20
    loaded = Captioner.load(export(config)).cpu()
    assert loaded.alignment.options()[1] == {"step": "TextMemory", "temperature": 0.5, "rows": 20, "dim": store.dim}
    config.image_side.image_timestep = 3
    with pytest.raises(
        ValueError, match=r"no option image_side.image_timestep; known: temperature \(TextMemory\), .*memory_rows"
    ):
        export(config)


@pytest.mark.java
def test_scores_must_be_those_of_the_exported_captioner(exported, tmp_path):
    _, _, store, config = exported
    config.overwrite, config.evaluation = True, str(tmp_path / "scores")
    captioner = Captioner.load(config.checkpoint)
    captioner.encoder_description = store.manifest.encoder
    options = {"output_dir": config.evaluation, "scoring": Scoring(["CIDEr"])}
    result = evaluate_captioner(captioner, InferenceInputs(store, "val"), **options)
    assert json.loads((export(config) / "manifest.json").read_text())["scores"] == result.to_json()

    config.image_side.temperature = 0.5
    with pytest.raises(ValueError, match=r"is not of the captioner .*image_side.temperature was None.*temperature=0.5"):
        export(config)
    result = evaluate_captioner(captioner, InferenceInputs(store, "val", image_side={"temperature": 0.5}), **options)
    assert json.loads((export(config) / "manifest.json").read_text())["scores"] == result.to_json()

    captioner.provenance["seed"] = 1
    captioner._hub_mixin_config["provenance"] = {"seed": 1}
    captioner.save_pretrained(config.checkpoint)  # trained again
    with pytest.raises(ValueError, match=r"is not of the captioner that is exported .*checkpoint was "):
        export(config)
    (tmp_path / "scores" / "scores.json").write_text("{}")  # as they were before they said what they are of
    with pytest.raises(
        ValueError, match=r"was 'not recorded' .*run python scripts/eval_coco.py checkpoint=.*overwrite"
    ):
        export(config)


def test_an_evaluation_that_is_missing_is_named(exported, tmp_path):
    config = exported[3]
    config.overwrite, config.evaluation = True, str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere: run python scripts/eval_coco.py"):
        export(config)


def test_an_encoder_that_an_alignment_translates_is_named_where_it_stays(tmp_path, capsys):
    alignment = Alignment([ReadsAnother(str(tmp_path)), Normalize()])
    _report_left(alignment)
    assert f"Not in the export: {tmp_path}, of the encoder towers" in capsys.readouterr().err
    _report_left(Alignment.from_options(MEMORY[:1], STEPS))
    assert not capsys.readouterr().err


class ReadsAnother(Normalize):
    """A step whose rows at inference are another encoder's."""

    def __init__(self, heads: str):
        super().__init__()
        self.inference_encoder = {"name": "towers", "heads": heads}
