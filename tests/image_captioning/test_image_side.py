"""Evaluating with another image side than the checkpoint's: figures say so, folders are kept, the captioner as well."""

from __future__ import annotations

import json

import pytest
import torch

from alignment.chain import Alignment
from image_captioning.alignments import STEPS
from image_captioning.evaluate import evaluate_captioner

COLLAPSE = [{"step": "Normalize"}, {"step": "Center"}, {"step": "Normalize"}]
MEMORY = [*COLLAPSE, {"step": "TextMemory", "temperature": 0.1}, {"step": "Normalize"}]


@pytest.fixture
def trained(make_captioner, make_store):
    """A captioner that reads centred embeddings, with an image mean from elsewhere, and a store."""
    store, captioner = make_store(dim=8), make_captioner()
    captioner.alignment = Alignment.from_store(COLLAPSE, STEPS, store)
    captioner.alignment.steps[1].image_mean.copy_(torch.linspace(-0.3, 0.3, 8))
    captioner.encoder_description = store.manifest["encoder"]
    return captioner, store


@pytest.mark.java
def test_another_chain_with_the_same_text_side_is_recorded_and_put_away(trained, tmp_path):
    captioner, store = trained
    own, memory = captioner.alignment, Alignment.from_store(MEMORY, STEPS, store)
    options = {"split": "test", "metrics": ["CIDEr"], "image_side": {"temperature": 0.03, "memory_rows": None}}
    figures = evaluate_captioner(captioner, store, output_dir=tmp_path, alignment=memory, **options)
    assert captioner.alignment is own
    assert figures["inputs"]["image_side"] == {"temperature": 0.03} and figures["inputs"]["alignment"] == memory.hash
    assert figures["image_alignment"] == memory.options()

    captioner.alignment = Alignment.from_store(
        [*MEMORY[:3], {**MEMORY[3], "temperature": 0.03}, MEMORY[4]], STEPS, store
    )
    captioner.alignment.steps[1].image_mean.copy_(own.steps[1].image_mean)  # the captioner's own mean is subtracted
    expected = evaluate_captioner(captioner, store, "test", tmp_path / "whole", metrics=["CIDEr"])
    assert expected["metrics"] == figures["metrics"] and expected["gap"] == pytest.approx(figures["gap"])
    assert (tmp_path / "predictions.json").read_text() == (tmp_path / "whole" / "predictions.json").read_text()


@pytest.mark.java
def test_a_folder_keeps_its_evaluation(trained, tmp_path, capsys, monkeypatch):
    captioner, store = trained
    captioner.alignment = Alignment.from_store(MEMORY, STEPS, store)
    options = {"split": "test", "output_dir": tmp_path, "metrics": ["CIDEr"], "earlier": "keep"}
    first = evaluate_captioner(captioner, store, image_side={"temperature": 0.2}, **options)
    before = (tmp_path / "scores.json").read_text()
    with pytest.raises(ValueError, match=r"holds another evaluation \(image_side.temperature was 0.2 .* 0.3 now\)"):
        evaluate_captioner(captioner, store, image_side={"temperature": 0.3}, **options)
    with pytest.raises(
        ValueError, match=r"metrics was .*output_dir=\.\.\., or replace the old one with overwrite=true"
    ):
        evaluate_captioner(captioner, store, image_side={"temperature": 0.2}, **{**options, "metrics": ["BLEU"]})
    assert (tmp_path / "scores.json").read_text() == before
    monkeypatch.setattr("evaluation.captions.scoring.score_captions", lambda *a, **k: pytest.fail("scored again"))
    assert (
        evaluate_captioner(captioner, store, image_side={"temperature": 0.2}, **options) == first == json.loads(before)
    )
    assert "Already evaluated" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"earlier='new' must be one of replace, renew, keep"):
        evaluate_captioner(captioner, store, **{**options, "earlier": "new"})


def test_another_text_side_is_refused_before_anything_is_written(trained, tmp_path):
    captioner, store = trained
    noised = Alignment.from_store([*COLLAPSE, {"step": "GaussianNoise", "noise_std": 0.1}, COLLAPSE[0]], STEPS, store)
    with pytest.raises(ValueError, match="something else to texts"):
        evaluate_captioner(captioner, store, "test", tmp_path / "new", alignment=noised)
    with pytest.raises(ValueError, match=r"no option image_side\.temperature; known: none"):
        evaluate_captioner(captioner, store, "test", tmp_path / "new", image_side={"temperature": 1.0})
    assert not (tmp_path / "new").exists()
