"""What an evaluation says beside the metrics: likelihood, CLIPScore, diversity, the training text, warnings."""

from __future__ import annotations

import json

import pytest
import torch

from evaluation.captions import clip_score, metrics
from evaluation.captions.clip_score import ClipScoreFacts, ClipScoring
from evaluation.captions.scoring_options import Scoring
from evaluation.captions.tables import metrics_table
from image_captioning.eval_coco import clip_scoring
from image_captioning.eval_coco import evaluate as evaluate_command
from image_captioning.evaluate import evaluate_captioner
from image_captioning.inference_inputs import InferenceInputs


@pytest.fixture
def store(make_store, word_encoder, monkeypatch):
    monkeypatch.setattr(clip_score, "reload_encoder", lambda description: word_encoder(8))
    return make_store(dim=8)


@pytest.fixture
def captioner(make_captioner, store):
    made = make_captioner()
    made.encoder_description = store.manifest.encoder
    made.provenance = {"dataset": "tiny", "store_hash": store.hash, "train_on": "text"}
    return made


@pytest.fixture
def evaluate(captioner, store, tmp_path):
    """`evaluate(metrics=["CIDEr"], split="test", clip_score=..., option=value)`, in tmp_path."""

    def evaluate(metrics=("CIDEr",), split="test", clip_score=None, **options):
        scoring = Scoring(metrics, clip_score=clip_score or ClipScoring())
        return evaluate_captioner(captioner, InferenceInputs(store, split, **options), tmp_path, scoring=scoring)

    return evaluate


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    """Tokens without Java: METEOR and the PTB tokenizer are not what is tested here."""
    monkeypatch.setattr(metrics, "ptb_tokenize", lambda captions: [caption.lower() for caption in captions])
    monkeypatch.setattr(
        metrics, "tokenize_references", lambda references, _: {i: [c.lower() for c in r] for i, r in references.items()}
    )


@torch.no_grad()
def slow_log_likelihood(captioner, row, caption) -> float:
    """Token by token, without batches, padding or caches."""
    tokens = [*captioner.tokenizer(caption, add_special_tokens=False).input_ids, captioner.tokenizer.eos_token_id]
    inputs, total = captioner.mapper(row[None]), 0.0  # (1, P, W)
    for token in tokens:
        logits = captioner.decoder(inputs_embeds=inputs).logits[0, -1]
        total += logits.double().log_softmax(-1)[token].item()
        inputs = torch.cat([inputs, captioner.decoder.transformer.wte(torch.tensor([[token]]))], dim=1)
    return total


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_log_likelihoods_equal_a_token_by_token_sum(make_captioner, batch_size):
    captioner = make_captioner(scale=2.0)
    captions = ["a dog on a beach", "", "one bird", "two cats , and a boat near the old house", "a dog on a beach"]
    rows = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    sums, tokens = captioner.log_likelihoods(rows, captions, batch_size)
    expected = [slow_log_likelihood(captioner, row, caption) for row, caption in zip(rows, captions, strict=True)]
    assert sums.tolist() == pytest.approx(expected, rel=1e-4) and tokens.tolist() == [6, 1, 3, 12, 6]
    assert sums[0] != sums[4]  # the same words, another image


def test_the_metrics_are_there_for_the_set_and_image_by_image(captioner, store, evaluate, tmp_path):
    result = evaluate(["CIDEr", "nouns", "CLIPScore"], clip_score=ClipScoring(prefix=""))
    assert list(result.metrics) == ["CIDEr", "noun precision", "noun recall", "CLIPScore", "RefCLIPScore"]
    assert result.clip_score.training_encoder and result.clip_score.prefix == ""
    assert result.training_text.captions == 200 and result.training_text.split == "train"
    assert result.diversity.vocabulary > 1
    per_image = json.loads((tmp_path / "per_image.json").read_text())
    for name in ("noun recall", "CLIPScore", "RefCLIPScore", "words", "log-likelihood"):
        assert len(per_image[name]) == 40, name
    assert 100 * sum(per_image["CLIPScore"]) / 40 == pytest.approx(result.metrics["CLIPScore"])
    assert sum(per_image["words"]) / 40 == pytest.approx(result.diversity.words)
    predictions = json.loads((tmp_path / "predictions.json").read_text())
    row = captioner.align_images(store.images("test")[:1])[0]
    expected = slow_log_likelihood(captioner, row, predictions[0]["caption"])
    tokens = len(captioner.tokenizer(predictions[0]["caption"]).input_ids) + 1
    assert per_image["log-likelihood"][0] == pytest.approx(expected / tokens, rel=1e-3)
    assert result.log_likelihood.per_token < 0
    table = metrics_table(result).text()
    assert "novel captions %" in table and "log-likelihood per token" in table


def test_another_encoder_may_judge_and_the_result_says_so(store, evaluate):
    other = store.path.with_name("other")
    other.mkdir()
    for file in store.path.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    description = {**store.manifest.encoder, "model": "others"}
    manifest = store.manifest.to_json() | {"encoder": description, "hash": "other"}
    (other / "manifest.json").write_text(json.dumps(manifest))
    result = evaluate(["CIDEr", "CLIPScore"], clip_score=ClipScoring(store=str(other)))
    assert result.clip_score.encoder["model"] == "others" and not result.clip_score.training_encoder
    assert result.clip_score.store_hash == "other" and result.clip_score.prefix == "A photo depicts"
    (other / "manifest.json").write_text(json.dumps(manifest | {"tables_hash": "of other images"}))
    with pytest.raises(ValueError, match="made from other tables"):
        evaluate(clip_score=ClipScoring(store=str(other)))
    with pytest.raises(FileNotFoundError, match="No embeddings in nowhere"):
        evaluate(clip_score=ClipScoring(store="nowhere"))


def test_the_training_text_is_looked_for_where_it_is(captioner, store, evaluate):
    captioner.provenance |= {"store_hash": "abc", "dataset": "elsewhere"}
    result = evaluate()
    assert "another store (elsewhere, hash abc)" in result.training_text.unavailable
    with pytest.raises(ValueError, match=r"training_store=.*another store \(elsewhere"):
        evaluate(training_store=store.path)
    captioner.provenance |= {"store_hash": store.hash, "train_on": "pairs"}
    result = evaluate()
    assert "does not say which split" in result.training_text.unavailable
    captioner.provenance |= {"train_split": "val", "init_from": {"dataset": "before"}}
    result = evaluate(training_store=store.path)
    assert result.training_text.not_compared == {"dataset": "before"}
    assert result.training_text.split == "val" and result.training_text.shared_image_ids == 0
    result = evaluate(split="val")
    assert result.training_text.shared_image_ids == 40 and result.training_text.references_in_it == 1


def test_each_warning_is_said_once_and_kept(captioner, evaluate, tmp_path, caplog, monkeypatch):
    def say_nothing(self, images, *options, **more):
        return ["nothing at all"] * len(images)

    monkeypatch.setattr(type(captioner), "caption", say_nothing)
    captioner.provenance["train_split"] = "test"
    result = evaluate()
    assert [record.getMessage() for record in caplog.records] == result.warnings
    same, cider, shared = result.warnings
    assert same == "all 40 captions are the same" and cider.startswith("CIDEr is nearly zero")
    assert "40 of the 40 images captioned have the ids of images of the training text" in shared
    assert json.loads((tmp_path / "scores.json").read_text())["warnings"] == result.warnings


def test_the_oracle_is_judged_by_the_references_that_it_did_not_read(store, evaluate, tmp_path, monkeypatch):
    seen = {}

    def judge(scores, captions, references, *options):
        seen.update(references)
        return scores, ClipScoreFacts({})

    monkeypatch.setattr("evaluation.captions.scorer.with_clip_scores", judge)
    evaluate(["CIDEr", "CLIPScore"], caption_from="texts")
    assert seen == {image_id: captions[1:] for image_id, captions in store.tables.references("test").items()}


def test_metrics_must_be_known(captioner, store, tmp_path):
    with pytest.raises(ValueError, match=r"Unknown metrics \['Bleu'\].*CLIPScore"):
        Scoring(["Bleu"])
    with pytest.raises(ValueError, match="at least one of BLEU"):
        Scoring(["CLIPScore"])


def test_a_file_of_captions_is_judged_by_the_stores_that_are_named(store, compose, tmp_path):
    references = store.tables.references("test")
    captions = dict(zip(references, store.captions("train"), strict=False))
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    (tmp_path / "references.json").write_text(json.dumps(references))
    config = compose(
        "eval_coco", f"predictions={tmp_path}/captions.json", f"references={tmp_path}/references.json",
        f"output_dir={tmp_path}/out", "metrics=[CIDEr,CLIPScore]", f"cache_dir={tmp_path}",
    )  # fmt: skip
    result = evaluate_command(config)
    assert result.metrics["CLIPScore"] is None and "clip_score.store=" in result.unavailable["CLIPScore"]
    assert "training_store=" in result.training_text.unavailable
    config.clip_score.store = config.training_store = str(store.path)
    with pytest.raises(ValueError, match=r"holds another evaluation .*output_dir=.*overwrite=true"):
        evaluate_command(config)
    config.overwrite = True
    result = evaluate_command(config)
    assert result.metrics["CLIPScore"] > 0 and result.clip_score.encoder == store.manifest.encoder
    assert result.training_text.copied_captions == 1
    assert any("100% of the captions are word for word" in warning for warning in result.warnings)
    assert result.clip_score.training_encoder is None  # nobody knows what wrote them


def test_the_judging_encoder_by_name(compose):
    config = compose("eval_coco", "clip_score.encoder=clip_vit_b32", "dataset.root=here")
    assert clip_scoring(config) == ClipScoring(store="here/ViT-B-32-quickgelu.openai")
    assert clip_scoring(compose("eval_coco")) == ClipScoring()
    with pytest.raises(ValueError, match="give one of them"):
        clip_scoring(compose("eval_coco", "clip_score.encoder=demo_clip", "clip_score.store=there"))
