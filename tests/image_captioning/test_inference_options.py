"""Evaluating with another inference side than the checkpoint's: results say so, folders and the captioner stay."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from alignment.chain import Alignment
from evaluation.captions.scoring_options import Scoring
from image_captioning.alignments import STEPS
from image_captioning.evaluate import evaluate_captioner
from image_captioning.inference_inputs import InferenceInputs

CIDER = Scoring(["CIDEr"])
COLLAPSE = [{"step": "Normalize"}, {"step": "Center"}, {"step": "Normalize"}]
MEMORY = [*COLLAPSE, {"step": "TextMemory", "temperature": 0.1}, {"step": "Normalize"}]


@pytest.fixture
def trained(make_captioner, make_store):
    """A captioner that reads centred embeddings, with an image mean from elsewhere, and a store."""
    store, captioner = make_store(dim=8), make_captioner()
    captioner.alignment = Alignment.from_store(COLLAPSE, STEPS, store)
    captioner.alignment.steps[1].inference_mean.copy_(torch.linspace(-0.3, 0.3, 8))
    captioner.encoder_description = store.manifest.encoder
    return captioner, store


@pytest.mark.java
def test_another_chain_with_the_same_text_side_is_recorded_and_put_away(trained, tmp_path):
    captioner, store = trained
    own, memory = captioner.alignment, Alignment.from_store(MEMORY, STEPS, store)
    inputs = InferenceInputs(store, "test", alignment=memory, image_side={"temperature": 0.03, "memory_rows": None})
    result = evaluate_captioner(captioner, inputs, tmp_path, scoring=CIDER)
    assert captioner.alignment is own
    assert result.inputs["image_side"] == {"temperature": 0.03} and result.inputs["alignment"] == memory.hash
    assert result.image_alignment == memory.options()

    captioner.alignment = Alignment.from_store(
        [*MEMORY[:3], {**MEMORY[3], "temperature": 0.03}, MEMORY[4]], STEPS, store
    )
    captioner.alignment.steps[1].inference_mean.copy_(
        own.steps[1].inference_mean
    )  # the captioner's own mean is subtracted
    expected = evaluate_captioner(captioner, InferenceInputs(store, "test"), tmp_path / "whole", scoring=CIDER)
    assert expected.metrics == result.metrics and asdict(expected.gap) == pytest.approx(asdict(result.gap))
    assert (tmp_path / "predictions.json").read_text() == (tmp_path / "whole" / "predictions.json").read_text()


@pytest.mark.java
def test_a_folder_keeps_its_evaluation(trained, tmp_path, capsys, monkeypatch):
    captioner, store = trained
    captioner.alignment = Alignment.from_store(MEMORY, STEPS, store)

    def evaluate(temperature=0.2, scoring=CIDER, existing="check"):
        inputs = InferenceInputs(store, "test", image_side={"temperature": temperature})
        return evaluate_captioner(captioner, inputs, tmp_path, scoring=scoring, existing=existing)

    first = evaluate()
    before = (tmp_path / "scores.json").read_text()
    with pytest.raises(ValueError, match=r"holds another evaluation \(image_side.temperature was 0.2 .* 0.3 now\)"):
        evaluate(0.3)
    with pytest.raises(
        ValueError, match=r"metrics was .*output_dir=\.\.\., or replace the old one with overwrite=true"
    ):
        evaluate(scoring=Scoring(["BLEU"]))
    assert (tmp_path / "scores.json").read_text() == before
    monkeypatch.setattr("evaluation.captions.scorer.score_captions", lambda *a, **k: pytest.fail("scored again"))
    assert evaluate().to_json() == first.to_json() == json.loads(before)
    assert "Already evaluated" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"existing='new' must be 'overwrite', 'reuse' or 'check'"):
        evaluate(existing="new")


def test_another_text_side_is_refused_before_anything_is_written(trained, tmp_path):
    captioner, store = trained
    noised = Alignment.from_store([*COLLAPSE, {"step": "GaussianNoise", "noise_std": 0.1}, COLLAPSE[0]], STEPS, store)
    with pytest.raises(ValueError, match="something else in training"):
        evaluate_captioner(captioner, InferenceInputs(store, "test", alignment=noised), tmp_path / "new")
    inputs = InferenceInputs(store, "test", image_side={"temperature": 1.0})
    with pytest.raises(ValueError, match=r"no option image_side\.temperature; known: none"):
        evaluate_captioner(captioner, inputs, tmp_path / "new")
    assert not (tmp_path / "new").exists()
