"""The commands: evaluation and cross-domain, classification."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from embedding_space.write_store import write_store
from evaluation.embeddings import classification
from image_captioning.evaluate_embeddings import evaluate
from modality_translation.training_run import train


def test_evaluation_tells_similarity_retrieval_plain_clip_and_the_bound(configured, compose, tmp_path, capsys):
    train(configured("run"))
    path = configured.store.path
    config = compose(
        "evaluate_embeddings", f"translation={tmp_path / 'run'}", f"store={path}",
        "sampling.steps=2", "alpha=0.1", f"output_dir={tmp_path / 'scores'}",
    )  # fmt: skip
    results = evaluate(config)
    assert json.loads((tmp_path / "scores" / "scores.json").read_text()) == results
    translated = results["translation"]
    assert (
        translated["uses_pairs"] and translated["sampling"]["steps"] == 2
    )  # all that it was made with, not changes alone
    assert translated["sampling"].keys() == {"steps", "guidance_scale", "gamma", "terms", "seed"}
    assert translated["trained_on"]["pairs_split"] == "pretrain" and results["evaluated_on"]["split"] == "test"
    for direction in ("image_to_text", "text_to_image"):
        for rows in ("translated", "untranslated"):
            assert set(translated[rows][direction]) >= {"similarity", "recall_at_1", "recall_at_10", "median_rank"}
        (share,) = translated["proposition_1"][direction]
        assert 0 <= share["bound"] <= 1 and 0 <= share["share"] <= 1
    assert "Proposition 1" in capsys.readouterr().out
    # Cross-domain: another data set, here a copy, of which other pairs are taken, prepared with the same encoder.
    there = shutil.copytree(path.parent, tmp_path / "data" / "elsewhere") / path.name
    config.image_store = config.text_store = str(there)
    results = evaluate(OmegaConf.merge(config, {"dataset": {"name": "elsewhere"}, "split": "val"}))
    elsewhere = results["translation"]
    assert results["evaluated_on"]["dataset"] == "elsewhere" and elsewhere["trained_on"] == translated["trained_on"]
    assert elsewhere["translated"]["image_to_text"] != translated["translated"]["image_to_text"]
    config.image_store = config.text_store = str(configured.towers().path)
    # Two translations evaluated on one data set have a folder each.
    assert compose("evaluate_embeddings", "translation=runs/coco_seed1").output_dir.endswith(
        "_test_translated_by_coco_seed1"
    )
    with pytest.raises(ValueError, match="trained on images of the encoder 'words', but"):
        evaluate(config)


def test_classification_by_a_translation(configured, compose, tmp_path, monkeypatch, word_encoder):
    train(configured("run", steps=30))
    store = configured.store
    sentences = store.tables.references("test")
    (tmp_path / "labels.json").write_text(json.dumps({id_: texts[0].split()[1] for id_, texts in sentences.items()}))
    monkeypatch.setattr(classification, "reload_encoder", lambda description: word_encoder(16))
    config = compose(
        "evaluate_embeddings", f"translation={tmp_path / 'run'}", f"store={store.path}", "alignments=[c2_collapse]",
        f"labels={tmp_path / 'labels.json'}", f"output_dir={tmp_path / 'scores'}",
    )  # fmt: skip
    results = evaluate(config)
    scores = results["translation"]["zero_shot"]
    for rows in ("images translated", "class names translated", "untranslated"):
        assert 0 <= scores[rows]["top_1"] <= 1
    assert len(results["classes"]) == 8 and (tmp_path / "scores" / "scores.json").exists()
    assert results["rows"][0]["zero_shot"] == pytest.approx(scores["untranslated"])
    table = (tmp_path / "scores" / "table.md").read_text()
    assert "Zero-shot classification by the translation" in table and "Before and after alignments" in table

    # A data set of pictures alone is classified all the same.
    captions = store.path.parent / "captions.parquet"
    pq.write_table(pq.read_table(captions).slice(0, 0), captions)
    shutil.rmtree(store.path)
    write_store(store.path.parent, word_encoder(16), name="words", text_split="train", image_mean_split="pretrain")
    config.alignments = []
    alone = evaluate(config)["translation"]
    assert alone["zero_shot"] == scores and "translated" not in alone
    config.labels = None
    with pytest.raises(ValueError, match="no captions to retrieve: give classes"):
        evaluate(config)
