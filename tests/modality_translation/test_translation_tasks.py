"""The commands: evaluation and cross-domain, classification, image generation."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from embedding_space.write_store import write_store
from evaluation.embeddings import classification
from image_captioning.evaluate_embeddings import evaluate
from modality_translation import generate_images
from modality_translation.image_generation import ImageDecoder, pipeline_class
from modality_translation.training_run import train
from scripts.generate_images import take_sentences


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


def test_without_diffusers_or_weights_the_message_says_what_to_do(monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        patched.setitem(__import__("sys").modules, "diffusers", None)
        with pytest.raises(ImportError, match=r"needs diffusers.*\.\[generation\]"):
            ImageDecoder("anything")
    pytest.importorskip("diffusers")
    with pytest.raises(FileNotFoundError, match=r"no unCLIP pipeline.*hf download kakaobrain/karlo"):
        ImageDecoder(str(tmp_path))


@pytest.fixture
def tiny_pipeline(tmp_path):
    """A folder with a whole unCLIP pipeline of random weights that reads embeddings of 16 dimensions."""
    diffusers = pytest.importorskip("diffusers")
    from transformers import (
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )  # fmt: skip

    kind = pipeline_class()
    torch.manual_seed(0)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "b</w>": 3}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=7)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextConfig(
        **small, projection_dim=16, vocab_size=4, max_position_embeddings=7, eos_token_id=1, bos_token_id=0,
        pad_token_id=1,
    )  # fmt: skip
    vision = CLIPVisionConfig(**small, projection_dim=16, image_size=16, patch_size=8)
    decoder = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=6, layers_per_block=1, block_out_channels=(8, 16),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn", cross_attention_dim=16, attention_head_dim=4,
        class_embed_type="identity", resnet_time_scale_shift="scale_shift", norm_num_groups=4,
    )  # fmt: skip
    larger = {
        "sample_size": 16, "in_channels": 6, "out_channels": 3, "layers_per_block": 1, "block_out_channels": (8, 8),
        "down_block_types": ("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
        "up_block_types": ("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"), "norm_num_groups": 4,
        "resnet_time_scale_shift": "scale_shift",
    }  # fmt: skip
    schedule = {"num_train_timesteps": 1000, "prediction_type": "epsilon"}
    pipeline = kind(
        decoder=decoder,
        text_encoder=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer,
        text_proj=diffusers.pipelines.unclip.UnCLIPTextProjModel(
            clip_embeddings_dim=16, time_embed_dim=32, cross_attention_dim=16
        ),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16),
        image_encoder=CLIPVisionModelWithProjection(vision),
        super_res_first=diffusers.UNet2DModel(**larger),
        super_res_last=diffusers.UNet2DModel(**larger),
        decoder_scheduler=diffusers.UnCLIPScheduler(variance_type="learned_range", **schedule),
        super_res_scheduler=diffusers.UnCLIPScheduler(variance_type="fixed_small_log", **schedule),
    )
    pipeline.save_pretrained(tmp_path / "karlo")
    index = json.loads((tmp_path / "karlo" / "model_index.json").read_text())
    assert index["text_proj"] == ["unclip", "UnCLIPTextProjModel"]  # as in Karlo's own files
    return tmp_path / "karlo"


def test_sentences_become_pictures(configured, compose, tmp_path, tiny_pipeline, monkeypatch, word_encoder, capsys):
    train(configured("run"))
    root = configured.store.path.parent
    monkeypatch.setattr(generate_images, "reload_encoder", lambda description: word_encoder(16))
    monkeypatch.setattr(generate_images, "open_picture", lambda path: Image.new("RGB", (20, 24), (200, 30, 90)))
    config = compose(
        "generate_images", f"checkpoint={tmp_path / 'run'}", f"weights={tiny_pipeline}", f"dataset.root={root}",
        "dataset.pairs_split=pretrain", "length_pictures=2", "batch_size=2", "decoder_steps=2",
        "super_resolution_steps=2", f"output_dir={tmp_path / 'pictures'}",
    )  # fmt: skip
    sentences = ["a dog on a beach", "a cat", "one bird"]
    results = generate_images.generate(config, sentences)
    sizes = [Image.open(tmp_path / "pictures" / f"00{n}.png").size for n in range(3)]
    assert sizes == [(16, 16)] * 3 and [row["sentence"] for row in results["images"]] == sentences
    assert results["embedding_length"] > 0 and all(-1 <= row["cosine"] <= 1 for row in results["images"])
    first = [Image.open(tmp_path / "pictures" / f"00{n}.png").tobytes() for n in range(3)]
    config.batch_size, config.embedding_length = 3, results["embedding_length"]
    generate_images.generate(config, sentences)
    again = [Image.open(tmp_path / "pictures" / f"00{n}.png").tobytes() for n in range(3)]
    differing = [sum(abs(a - b) > 2 for a, b in zip(x, y, strict=True)) for x, y in zip(first, again, strict=True)]
    assert max(differing) == 0 and first[0] != first[1]  # by seed, whatever the batches
    with pytest.raises(ValueError, match="reads image embeddings of 16 dimensions, and these have 9"):
        ImageDecoder(str(tiny_pipeline)).generate(torch.ones(1, 9), 1.0, 0)
    with pytest.raises(ValueError, match="at least one sentence"):
        generate_images.generate(config, [])


def test_sentences_and_options_are_told_apart():
    arguments = ["a dog, 2 = two", "seed=1", "++sampling.steps=2", "cats"]
    assert take_sentences(arguments) == (["a dog, 2 = two", "cats"], ["seed=1", "++sampling.steps=2"])
