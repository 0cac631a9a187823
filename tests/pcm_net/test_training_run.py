"""PCM-Net's training from a store to captions, through the entry points."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from embedding_space.errors import MissingPatches
from embedding_space.write_store import write_store
from evaluation.captions.patch_selection import PatchSelection, read_selections
from evaluation.captions.scoring_options import Scoring
from image_captioning.evaluate import evaluate_captioner
from image_captioning.generation import Decoding
from image_captioning.inference_inputs import InferenceInputs
from image_captioning.tokenizer import train_tokenizer
from image_captioning.training_run import train as train_captioner
from pcm_net.captioner import PCMNet
from pcm_net.inputs import PatchInputs
from pcm_net.load import load_captioner
from pcm_net.task import PairTask
from pcm_net.train import train


def test_it_learns_and_is_scored_like_any_captioner(configured, store, tmp_path):
    plain = ("clip_weight_scale=null", "label_smoothing=0", "loop.log_every=1", "loop.learning_rate=3e-3")
    metrics = train(configured("run", "loop.steps=60", *plain))
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])["loss"]
    assert metrics["synthetic_loss"] < 0.7 * first
    captioner = load_captioner(tmp_path / "run")
    assert isinstance(captioner, PCMNet) and captioner.provenance["images"] == "unknown"
    assert captioner.provenance["uses_pairs"] is False and captioner.provenance["train_split"] == "synthetic"
    for decoding in (Decoding(max_new_tokens=12), Decoding("beam", max_new_tokens=12, beams=2)):
        folder = tmp_path / decoding.label
        inputs = InferenceInputs(store, "test")
        result = evaluate_captioner(captioner, inputs, folder, decoding, Scoring(("CIDEr",)))
        assert result.images == 30 and result.log_likelihood.per_token < 0
    mixed = captioner.mixup(store.images("test"), store.patches("test")[:])
    selections = read_selections(folder / "patches.json")
    for number, image_id in enumerate(store.image_ids("test")):
        words = [captioner.concepts[concept] for concept in mixed.salient[number]]
        places = mixed.selected[number].nonzero()[:, 0].tolist()
        assert selections[image_id] == PatchSelection(2, "crop", places, words)


def test_without_a_mix_up_there_are_no_patches_to_report(configured, store, tmp_path):
    train(configured("run", "mixup.pairs=0"))
    evaluate_captioner(load_captioner(tmp_path / "run"), InferenceInputs(store, "test"), tmp_path / "scores",
                       scoring=Scoring(("BLEU",)))  # fmt: skip
    assert not (tmp_path / "scores/patches.json").exists()


def test_interrupted_and_resumed_equals_uninterrupted(configured, tmp_path, monkeypatch):
    train(configured("whole"))
    loss = PairTask.loss

    def interrupted(self, model, random):
        if random.step == 3:
            raise KeyboardInterrupt
        return loss(self, model, random)

    monkeypatch.setattr(PairTask, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(configured("parts", "loop.checkpoint_every=2"))
    monkeypatch.setattr(PairTask, "loss", loss)
    train(configured("parts", "loop.checkpoint_every=2"))
    whole, parts = (load_captioner(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_finished_run_is_reused_and_another_file_of_concepts_is_another_run(configured, concepts, word_encoder):
    train(configured("run"))
    assert train(configured("run"))["steps"] == 4
    names = ["hill", "dog", "cat", "boat", "tree"]
    np.savez(concepts, names=np.array(names), embeddings=word_encoder(16).encode_texts(names).numpy())
    with pytest.raises(ValueError, match="concepts"):
        train(configured("run"))


@pytest.mark.parametrize("alignment", ["c3", "c2_corrupt"])
def test_the_global_row_may_be_the_text_s_through_any_alignment(configured, store, tmp_path, alignment):
    train(configured("run", f"alignment={alignment}", "global_row=text"))
    captioner = load_captioner(tmp_path / "run")
    rows, images = torch.arange(30), store.images("test")
    inputs = captioner.image_inputs(captioner.align_images(images), images, store, "test", rows)
    assert len(captioner.caption(inputs, Decoding(max_new_tokens=5), progress=False)) == 30


@pytest.mark.parametrize("alignment", ["c3", "decap_memory"])
def test_images_are_not_read_as_texts_in_training(configured, alignment):
    with pytest.raises(
        ValueError, match=rf"global_row=image needs .* alignment={alignment} does not: .* global_row=text"
    ):
        train(configured("run", f"alignment={alignment}"))


def test_what_was_estimated_from_pairs_says_so(configured, tmp_path):
    pairs = ("alignment.estimate.data=pairs", "alignment.estimate.split=val")
    train(configured("run", "alignment=c3_auto", "global_row=text", *pairs))
    provenance = load_captioner(tmp_path / "run").provenance
    assert provenance["uses_pairs"] is True and provenance["estimates"][0]["data"] == "pairs"


def test_mixed_up_patches_feed_a_prefix_captioner(configured, store, tmp_path):
    small = ("decoder=demo", "decoder.config.n_embd=16", "decoder.config.n_head=2", "decoder.config.n_layer=1")
    train(configured("run", decoder=small))
    captioner = load_captioner(tmp_path / "run")
    assert captioner.prefix_length == 4 and type(captioner.language_model).__name__ == "GPT2LMHeadModel"
    result = evaluate_captioner(
        captioner, InferenceInputs(store, "test"), tmp_path / "scores", scoring=Scoring(("BLEU",))
    )
    assert result.images == 30


def test_adapters_learn_beside_a_pretrained_prefix_decoder(configured, tmp_path):
    pytest.importorskip("peft")
    tokenizer = train_tokenizer(["a dog and a cat on a hill"], kind="bpe", size=300)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    source = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **small))
    for part in (source, tokenizer):
        part.save_pretrained(tmp_path / "llama")
    train(configured("run", decoder=("decoder=causal_lm", f"decoder.pretrained={tmp_path / 'llama'}")))
    weights = load_captioner(tmp_path / "run").language_model.state_dict()
    assert any(value.any() for name, value in weights.items() if "lora_B" in name)
    plain = {name.replace(".base_layer.", "."): value for name, value in weights.items()}
    assert all(torch.equal(plain[name], value) for name, value in source.state_dict().items())


def test_pairs_are_an_oracle_that_says_so(configured, tmp_path):
    train(
        configured(
            "run", "train_on=pairs", "dataset.pairs_split=synthetic", "validate_on=pairs", "validation_split=val"
        )
    )
    provenance = load_captioner(tmp_path / "run").provenance
    assert provenance["uses_pairs"] is True and provenance["images"] == "real pairs"


def test_captions_weigh_what_clip_says_of_their_pictures(configured, store, monkeypatch):
    weights = []
    fit = "pcm_net.training_run.Loop.fit"
    monkeypatch.setattr(fit, lambda self, model, task, resume: weights.append(task.caption_weights) or {})
    train(configured("run", "clip_weight_scale=0.9", "train_captions=50"))
    train(configured("plain", "clip_weight_scale=null"))
    assert weights[1] is None and len(weights[0]) == 50
    images, texts = store.images("synthetic"), store.texts("synthetic")
    cosines = 0.9 * (images * texts).sum(dim=-1)[torch.from_numpy(store.pairs("synthetic"))].clamp(0, 1)
    assert all((cosines - weight).abs().min() < 1e-3 for weight in weights[0])


def test_what_the_store_or_the_files_lack_is_said_at_once(configured, store, tmp_path, word_encoder):
    write_store(store.path.parent, word_encoder(16), "bare", "synthetic", "synthetic")
    with pytest.raises(MissingPatches, match="no patch tokens"):
        train(configured("run", f"store={store.path.parent / 'bare'}"))
    narrow = tmp_path / "narrow.npz"
    np.savez(narrow, names=np.array(["dog", "cat"]), embeddings=np.eye(2, 5))
    with pytest.raises(ValueError, match="5 dimensions"):
        train(configured("run", f"concepts.file={narrow}"))
    few = tmp_path / "few.npz"
    np.savez(few, names=np.array(["dog", "cat", "boat"]), embeddings=np.eye(3, 16))
    with pytest.raises(ValueError, match=r"mixup\.concepts=5 is more than the vocabulary's 3"):
        train(configured("other", f"concepts.file={few}"))


def test_patches_of_another_grid_are_refused(configured, store, tmp_path):
    train(configured("run"))
    captioner = load_captioner(tmp_path / "run")
    images = store.images("test")
    inputs = captioner.image_inputs(captioner.align_images(images), images, store, "test", torch.arange(30))
    fewer = PatchInputs(inputs.rows, inputs.images, inputs.patches[:][:, :3], inputs.features[:][:, :3])
    with pytest.raises(ValueError, match=r"reads 4 patches of 16 numbers an image, .*; got 3 x 16: .*patch_pool"):
        captioner.caption(fewer)
    with pytest.raises(ValueError, match=r"caption_from=texts: this captioner \(PCMNet\) reads patches"):
        captioner.align_texts(store.texts("test"))


def test_another_list_of_concepts_may_be_read_at_inference(configured, store, tmp_path, word_encoder):
    train(configured("run"))
    names, other = ["hill", "dog", "cat", "boat", "tree", "bird"], tmp_path / "other.npz"
    np.savez(other, names=np.array(names), embeddings=word_encoder(16).encode_texts(names).numpy())
    before, after = load_captioner(tmp_path / "run"), load_captioner(tmp_path / "run", str(other))
    assert after.concepts == names and after.mixup.concepts.shape == (6, 16)
    recorded = [InferenceInputs(store, "test").recorded(captioner) for captioner in (before, after)]
    assert "concepts" not in recorded[0] and len(recorded[1]["concepts"]) == 64
    result = evaluate_captioner(after, InferenceInputs(store, "test"), tmp_path / "scores", scoring=Scoring(("BLEU",)))
    assert result.inputs["concepts"] == recorded[1]["concepts"]


def test_concepts_are_for_a_pcm_net_alone(make_store, compose, tmp_path):
    small = ("loop.steps=1", "loop.batch_size=8", "validation_captions=10", "alignment=c1")
    train_captioner(compose("image_captioning", f"store={make_store().path}", f"output_dir={tmp_path / 'c1'}", *small))
    with pytest.raises(ValueError, match=r"concepts=x\.npz is for a PCM-Net, and .* is none"):
        load_captioner(tmp_path / "c1", "x.npz")


@pytest.mark.slow
def test_two_processes_train_what_one_does(store, concepts, tmp_path):
    made = [
        f"store={store.path}", f"concepts.file={concepts}", "network.width=16", "network.heads=2",
        "decoder.config.heads=2", "loop.steps=6", "loop.batch_size=8", "loop.precision=fp32", "loop.log_every=1",
        "validation_captions=40",
        *[f"network.{name}=0" for name in ("dropout", "attention_dropout", "input_dropout")],
        *[f"decoder.config.{name}dropout=0" for name in ("", "attention_", "embedding_", "output_")],
    ]  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    losses = {}
    for name, command in (("one", [sys.executable]), ("two", launch)):
        command = [*command, "-m", "pcm_net.train", *made, f"output_dir={tmp_path / name}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr[-2000:]
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses[name] = [line[key] for key in ("loss", "synthetic_loss") for line in lines if key in line]
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-4)
