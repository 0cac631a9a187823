"""Captioners with prefix parts, from training to captions: ViECap, IFCap and MeaCap on a tiny world."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import training.loop
from alignment.memory import TextMemory
from evaluation.captions.scoring_options import Scoring
from image_captioning import caption_photos
from image_captioning.caption_photos import caption
from image_captioning.captioner import Captioner
from image_captioning.data import CaptionTokens
from image_captioning.evaluate import evaluate_captioner
from image_captioning.export import export
from image_captioning.generation import Decoding
from image_captioning.inference_inputs import InferenceInputs
from image_captioning.prefix_parts.inputs import PrefixInputs
from image_captioning.training_run import train

SMALL = (
    "decoder.config.n_layer=2", "decoder.config.n_embd=32", "decoder.config.n_head=2", "decoder.mapper.prefix_length=2",
    "loop.batch_size=20", "loop.warmup_steps=2", "validation_captions=20", "loop.precision=fp32",
)  # fmt: skip
OF_METHOD = {
    "viecap": ("parts.source.threshold=0.05", "parts.source.temperature=0.1"),
    "meacap": ("parts.source.least=2",),
    "ifcap": (
        "parts.source.least=3", "parts.retrieval.neighbors=3", "parts.retrieval.noise_std=0.05",
        "decoder.mapper.kind=fusion", "+decoder.mapper.layers=1", "+decoder.mapper.heads=2",
    ),
}  # fmt: skip
METHODS = list(OF_METHOD)


@pytest.fixture
def config(compose, make_store, vocabulary, tmp_path):
    store = make_store()

    def made(method: str, *overrides: str, folder: str = "run"):
        place = [f"store={store.path}", f"output_dir={tmp_path / folder}", "dataset.pairs_split=pretrain"]
        options = [f"parts={method}", f"parts.vocabulary.file={vocabulary}", *OF_METHOD[method]]
        return compose("image_captioning", "alignment=c2_corrupt", *SMALL, *place, *options, "loop.steps=4", *overrides)

    made.store = store
    return made


@pytest.mark.parametrize("method", METHODS)
def test_a_trained_captioner_says_the_same_after_loading_in_any_batch(config, method, tmp_path, compose):
    train(config(method, "loop.steps=110", "loop.learning_rate=5e-3", "alignment=c3", "alignment.noise_std=0.02"))
    captioner, images = Captioner.load(tmp_path / "run"), config.store.images("test")
    captions = captioner.caption_images(images, progress=False)
    assert len(set(captions)) > 3
    assert Captioner.load(tmp_path / "run").caption_images(images, batch_size=7, progress=False) == captions
    beams = Decoding("beam", beams=3)
    by_beams = captioner.caption_images(images, beams, progress=False)
    assert captioner.caption_images(images, beams, batch_size=3, progress=False) == by_beams
    assert captioner.provenance["prefix_parts"]["source"]["kind"] == captioner.parts.source["kind"]
    whole = Captioner.load(export(compose("export", f"checkpoint={tmp_path / 'run'}", f"to={tmp_path / 'shared'}")))
    halved = whole.caption_images(images, progress=False)
    assert np.mean([a == b for a, b in zip(halved, captions, strict=True)]) > 0.8
    with pytest.raises(ValueError, match="caption raw rows by caption_images"):
        captioner.caption(captioner.align_images(images))


def test_resumed_equals_uninterrupted(config, tmp_path, monkeypatch):
    whole, parts = config("ifcap", folder="whole"), config("ifcap", "loop.checkpoint_every=2", folder="parts")
    train(whole)
    with monkeypatch.context() as patch:
        checkpoint = training.loop.Loop._checkpoint

        def interrupt(*arguments):
            checkpoint(*arguments)
            raise KeyboardInterrupt

        patch.setattr(training.loop.Loop, "_checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(parts)
    train(parts)
    captioners = [Captioner.load(tmp_path / name) for name in ("whole", "parts")]
    for (name, ours), theirs in zip(
        captioners[0].state_dict().items(), captioners[1].state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, msg=name)


@pytest.fixture
def captioner(config, tmp_path) -> Captioner:
    train(config("ifcap"))
    return Captioner.load(tmp_path / "run")


def test_the_loss_is_that_of_each_caption_by_itself_behind_its_sentence(captioner, config):
    """The prompt's padding is nowhere: each caption alone, without any, has the same loss."""
    captions, images = config.store.captions("test")[:6], config.store.images("test")[:6]
    inputs = captioner.parts.inputs(captioner.align_images(images), images, captioner.device)
    inputs = PrefixInputs(inputs.rows, inputs.words.clone(), inputs.neighbors)
    inputs.words[0], inputs.words[1, 1:] = -1, -1  # prompts of all lengths
    tokens = CaptionTokens.encode(captions, captioner.tokenizer, 20)
    losses = captioner(inputs, *tokens.batch(torch.arange(6)))
    for row, sentence in enumerate(captions):
        names = ", ".join(captioner.parts.names[word] for word in inputs.words[row].tolist() if word >= 0)
        prompt = captioner.tokenizer(f"There are {names or 'something'} in image.").input_ids
        ids = [*captioner.tokenizer(sentence).input_ids, captioner.tokenizer.eos_token_id]
        soft = captioner.mapper(inputs.rows[[row]], inputs.neighbors[[row]])
        embed = captioner.language_model.get_input_embeddings()
        read = torch.cat([soft, embed(torch.tensor([[*prompt, *ids[:-1]]]))], dim=1)
        logits = captioner.language_model(inputs_embeds=read).logits[0, -len(ids) :]
        slow = -logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).sum()
        assert losses[row].item() == pytest.approx(slow.item(), rel=1e-4)


def test_greedy_captions_continue_the_sentence_as_transformers_does(captioner, config):
    images = config.store.images("test")[:5]
    inputs = captioner.parts.inputs(captioner.align_images(images), images, captioner.device)
    inputs.words[0], inputs.words[1, 1:] = -1, -1
    captions = captioner.caption(inputs, Decoding(max_new_tokens=8), progress=False)
    for row, sentence in enumerate(captions):
        assert captioner.caption(inputs[row : row + 1], Decoding(max_new_tokens=8), progress=False) == [sentence]
    assert captioner.caption(inputs, Decoding("beam", beams=1, max_new_tokens=8), progress=False) == captions
    likelihoods, _ = captioner.log_likelihoods(inputs, captions)
    again, _ = captioner.log_likelihoods(inputs, captions, batch_size=2)
    torch.testing.assert_close(likelihoods, again, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("caption_from", ["images", "texts"])
def test_an_evaluation_reads_the_images_raw_rows(captioner, config, tmp_path, monkeypatch, caption_from):
    for module in ("metrics", "ptb_tokenizer"):
        monkeypatch.setattr(f"evaluation.captions.{module}.ptb_tokenize", list)
    inputs = InferenceInputs(config.store, "test", caption_from=caption_from)
    result = evaluate_captioner(captioner, inputs, tmp_path / "scores", scoring=Scoring(metrics=("CIDEr",)))
    predictions = json.loads((tmp_path / "scores" / "predictions.json").read_text())
    assert result.metrics["CIDEr"] is not None and len(predictions) == 40
    if caption_from == "images":
        captions = captioner.caption_images(config.store.images("test"), progress=False)
        assert [prediction["caption"] for prediction in predictions] == captions


def test_files_are_captioned_by_their_raw_rows(captioner, config, word_encoder, compose, tmp_path, monkeypatch):
    monkeypatch.setattr(caption_photos, "reload_encoder", lambda *_, **__: word_encoder(16))
    monkeypatch.setattr(caption_photos, "find_files", lambda paths, medium: (paths, {}))
    paths = [config.store.path.parent / "images" / f"test_{number}.txt" for number in range(4)]
    options = compose("caption", f"output_dir={tmp_path}/captions", "precision=fp32", f"checkpoint={tmp_path / 'run'}")
    captions = caption(options, paths)
    rows = torch.cat([encoded.rows for encoded in word_encoder(16).encode_image_shards(paths, [range(4)])])
    assert list(captions.values()) == captioner.caption_images(rows, progress=False)


def test_a_memory_that_has_changed_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(TextMemory, "MEMORY_SAVED_BYTES", 100)
    train(config("meacap"))
    assert Captioner.load(tmp_path / "run").parts.memory.rows.abs().sum() > 0
    options = json.loads((tmp_path / "run" / "config.json").read_text())
    options["parts"]["memory"]["store_hash"] = "0" * 64
    (tmp_path / "run" / "config.json").write_text(json.dumps(options))
    with pytest.raises(ValueError, match="prepare that store, or train the captioner, again"):
        Captioner.load(tmp_path / "run")


def test_training_does_not_go_on_from_parts(captioner, compose, config, tmp_path):
    place = [f"store={config.store.path}", f"output_dir={tmp_path / 'further'}", "dataset.pairs_split=pretrain"]
    with pytest.raises(ValueError, match=r"init_from\) has prefix parts, which a training cannot go on with"):
        train(compose("image_captioning", "alignment=c2_corrupt", *SMALL, *place, f"init_from={captioner.folder}"))


def test_what_does_not_go_with_parts_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match="looks at near captions, and there are none"):
        train(config("viecap", "decoder.mapper.kind=fusion"))
    with pytest.raises(ValueError, match="set train_on and validate_on to text, not pairs"):
        train(config("viecap", "train_on=pairs"))
    with pytest.raises(ValueError, match=r"init_from=.* knows no prefix parts"):
        train(config("viecap", f"init_from={tmp_path}"))
    with pytest.raises(ValueError, match="need more than the decoder's 20 positions"):
        train(config("viecap", "decoder.config.n_positions=20"))
    with pytest.raises(FileNotFoundError, match="no file of concepts"):
        train(config("viecap", "parts.vocabulary.file=nowhere.npz", folder="none"))
