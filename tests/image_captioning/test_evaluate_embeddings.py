"""Evaluating embeddings: before and after alignments and checkpoints, with classes from captions or from a file."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from alignment.chain import Alignment
from evaluation.embeddings import classification
from evaluation.embeddings.retrieval import retrieve
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.evaluate_embeddings import evaluate

NOUNS = "classes=[dog,cat,boat,tree,car,bird,house,star]"


@pytest.fixture
def store(make_store, word_encoder, monkeypatch):
    monkeypatch.setattr(classification, "reload_encoder", lambda description: word_encoder(16))
    return make_store()


@pytest.fixture
def config(compose, store, tmp_path):
    """A factory of the command's configs on the store."""

    def make(*overrides: str):
        paths = (f"store={store.path}", f"output_dir={tmp_path}/out")
        return compose("evaluate_embeddings", *paths, "alignments=[c1,c2_collapse,c3]", *overrides)

    return make


def test_before_and_after_each_alignment(config, store, tmp_path, capsys):
    results = evaluate(config(NOUNS, "templates=['a {}','one {} on a hill']"))
    before, c1, collapse, c3 = results["rows"]
    pairs = torch.from_numpy(store.pairs("test"))
    expected = asdict(retrieve(store.images("test"), store.texts("test"), pairs))
    assert {key: before[key] for key in expected} == expected
    assert c1["image_to_text"] == before["image_to_text"]
    steps = [{"step": "Normalize"}, {"step": "Center"}, {"step": "Normalize"}]
    chain = Alignment.from_store(steps, STEPS, store)
    expected = asdict(
        retrieve(chain.inference_side(store.images("test")), chain.clean_side(store.texts("test")), pairs)
    )
    assert {key: collapse[key] for key in expected} == expected
    assert c3["text_to_image"] == collapse["text_to_image"]  # noise is for training
    assert collapse["centroid_distance"] < before["centroid_distance"]
    assert collapse["zero_shot"]["classes"] == 8 and 0 < collapse["zero_shot"]["images"] < 40
    assert collapse["zero_shot"]["top_1"] > 0.5  # these embeddings are sums of word vectors: a class is easily found
    assert json.loads((tmp_path / "out/scores.json").read_text()) == json.loads(json.dumps(results))
    table = (tmp_path / "out/table.md").read_text()
    assert [row["uses_pairs"] for row in results["rows"]] == [False] * 4 and "uses pairs" in table
    assert "top-1 %" in table and "i→t R@1" in capsys.readouterr().out and results["images"] == 40


def test_checkpoints_bring_their_own_alignment_and_files_their_classes(config, store, tmp_path, monkeypatch):
    class Trained:
        dim, encoder_description, searches_images = 16, store.manifest.encoder, False
        alignment = Alignment.from_store(
            [{"step": "Normalize"}, {"step": "Center"}, {"step": "Normalize"}], STEPS, store
        )

    monkeypatch.setattr(Captioner, "load", lambda checkpoint: Trained())
    (tmp_path / "classes.txt").write_text("dog\n\n cat \n")
    (tmp_path / "labels.json").write_text(json.dumps({"test_0": "dog", "test_1": "cat", "not there": "cat"}))
    files = (f"classes={tmp_path}/classes.txt", f"labels={tmp_path}/labels.json")
    results = evaluate(config("checkpoints=[outputs/mine]", *files))
    *_, collapse, _, mine = results["rows"]
    assert mine["alignment"] == "mine" and mine["image_to_text"] == collapse["image_to_text"]
    assert mine["zero_shot"]["images"] == 2
    (tmp_path / "labels.json").write_text(json.dumps({"test_0": "bird"}))
    with pytest.raises(ValueError, match="names the class 'bird', which is not among classes"):
        evaluate(config(*files))
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(ValueError, match="must be a JSON object"):
        evaluate(config(*files))
    Trained.dim = 8
    with pytest.raises(ValueError, match="8 dimensions"):
        evaluate(config("checkpoints=[outputs/mine]"))


def test_without_classes_there_is_no_classification(config):
    results = evaluate(config("alignments=[]"))
    assert [row["alignment"] for row in results["rows"]] == ["before"] and "zero_shot" not in results["rows"][0]
    with pytest.raises(ValueError, match="gives no class to any image of split=test"):
        evaluate(config("classes=[whale,shark]"))
