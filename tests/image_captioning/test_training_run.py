"""Training: the loss does not depend on processes, the noise is fresh, runs resume, and a tiny world is learnt."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import training.loop
from alignment.chain import Alignment
from alignment.options import expand_steps
from common.randomness import drawn_rows
from embedding_space.encoders.base import Encoder
from embedding_space.store import EmbeddingStore
from embedding_space.tables import write_tables
from embedding_space.write_store import write_store
from image_captioning.alignments import STEPS
from image_captioning.captioner import Captioner
from image_captioning.data import CaptionTokens
from image_captioning.inference_inputs import InferenceInputs
from image_captioning.selection import CaptionSelection, select_captions
from image_captioning.task import CaptioningTask, Examples
from image_captioning.training_run import train
from training.batches import StepRandom

CAPTIONS = ["a dog on a beach", "two cats, and a boat", "a red car near the old house", "one bird"] * 6
SMALL = (
    "decoder.config.n_layer=2", "decoder.config.n_embd=32", "decoder.config.n_head=2", "decoder.mapper.prefix_length=2",
    "loop.batch_size=20", "loop.log_every=5", "loop.warmup_steps=2", "validation_captions=20",
)  # fmt: skip


@pytest.fixture
def config(compose, make_store, tmp_path):
    store = make_store()

    def made(*overrides: str):
        place = [f"store={store.path}", f"output_dir={tmp_path / 'run'}", "dataset.pairs_split=pretrain"]
        return compose("image_captioning", "alignment=c3", *SMALL, *place, *overrides)

    return made


@pytest.fixture
def task(make_captioner):
    def made(batch_size: int = 8, seed: int = 0) -> CaptioningTask:
        captioner = make_captioner()
        tokens = CaptionTokens.encode(CAPTIONS, captioner.tokenizer, 20)
        rows = torch.nn.functional.normalize(torch.randn(len(CAPTIONS), 8, generator=torch.Generator().manual_seed(2)))
        samples = (rows[:2], CAPTIONS[:2])
        return CaptioningTask(captioner, Examples(rows, tokens), {}, samples, batch_size, seed)

    return made


def test_loss_of_two_processes_is_that_of_one_and_the_mean_over_tokens(task):
    task = task()
    for step in range(4):
        whole = task.loss(task.captioner, StepRandom(0, step, 8, slice(0, 8)))["loss"]
        halves = [
            task.loss(task.captioner, StepRandom(0, step, 8, rows))["loss"] for rows in (slice(0, 4), slice(4, 8))
        ]
        torch.testing.assert_close(sum(halves) / 2, whole)
        numbers = task.order.batch(step)
        embeddings = task.training.inputs(
            task.captioner.alignment, numbers, StepRandom(0, step, 8, slice(0, 8)).normal_like
        )
        tokens, mask = task.training.tokens.batch(numbers)
        logits = task.captioner.logits(embeddings, tokens)
        torch.testing.assert_close(torch.nn.functional.cross_entropy(logits[mask], tokens[mask]), whole)


def test_an_epoch_covers_every_caption_once_in_batches_of_like_length(task):
    task = task(batch_size=6)
    batches = [task.order.batch(step) for step in range(task.order.batches)]
    assert torch.cat(batches).sort().values.tolist() == list(range(len(CAPTIONS)))
    spread = [int(task.lengths[batch].max() - task.lengths[batch].min()) for batch in batches]
    assert max(spread) == 0  # four lengths, six captions each


def test_noise_is_fresh_each_epoch_and_reproducible(task):
    seen: dict[int, list[torch.Tensor]] = {}
    for attempt in (task(batch_size=6), task(batch_size=6)):
        inputs = []

        def record(embeddings, tokens, mask, smoothing, inputs=inputs):
            inputs.append(embeddings)
            return torch.zeros(len(tokens))

        for step in (0, 1, 2, 3, 4, 5):
            attempt.loss(record, StepRandom(0, step, 6, slice(0, 6)))
        seen[len(seen)] = inputs
    for one, other in zip(seen[0], seen[1], strict=True):
        assert torch.equal(one, other)
    # the same caption in two epochs: near, but not the same
    order = task(batch_size=6).order
    first = {
        int(number): row for step in range(4) for number, row in zip(order.batch(step), seen[0][step], strict=True)
    }
    for step in (4, 5):
        for number, row in zip(order.batch(step), seen[0][step], strict=True):
            assert not torch.equal(first[int(number)], row)
            assert first[int(number)] @ row > 0.5


def test_the_validation_loss_is_repeatable_and_a_mean_over_tokens(task):
    task = task()
    losses = {task.loss_per_token(task.captioner, task.training) for _ in range(2)}
    assert len(losses) == 1
    aligned = Examples(
        task.captioner.alignment.training_side(task.training.rows, torch.zeros_like), task.training.tokens, aligned=True
    )
    tokens, mask = aligned.tokens.batch(torch.arange(len(CAPTIONS)))
    logits = task.captioner.logits(aligned.rows, tokens)
    expected = torch.nn.functional.cross_entropy(logits[mask], tokens[mask]).item()
    assert task.loss_per_token(task.captioner, aligned) == pytest.approx(expected, rel=1e-5)


def test_a_tiny_world_is_learnt_and_captioned_from_its_folder(config, tmp_path, capsys):
    made = config("alignment=c2_collapse", "loop.steps=300", "loop.learning_rate=5e-3", "label_smoothing=0.02")
    figures = train(made)
    assert set(figures) == {"text_loss"} and figures["text_loss"] < 1.5
    store = EmbeddingStore(made.store)
    captioner = Captioner.load(made.output_dir)
    own = captioner.caption(captioner.align_texts(store.texts("train")), progress=False)
    # the toy embedding is a sum of word vectors: it does not say which of the two nouns comes first
    right = [sorted(a.split()) == sorted(b.split()) for a, b in zip(own, store.captions("train"), strict=True)]
    assert sum(right) > 0.85 * len(right)
    captions = captioner.caption_images(store.images("test"), progress=False)
    # the toy images are their captions' embeddings, offset and noised: closing the gap is all they need
    nouns = [caption.split()[1] for caption in store.captions("test")[::2]]
    assert sum(noun in caption for noun, caption in zip(nouns, captions, strict=True)) > 0.6 * len(captions)
    assert captioner.provenance["uses_pairs"] is False and captioner.provenance["captions"] == 200
    assert captioner.provenance["image_mean_split"] is not None
    assert captioner.encoder_description == store.manifest.encoder

    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] > 2 * lines[-2]["loss"]
    capsys.readouterr()
    assert train(made)["text_loss"] == figures["text_loss"]  # finished: not trained again
    assert "overwrite=true" in capsys.readouterr().out
    with pytest.raises(ValueError, match="another configuration"):
        train(config("loop.steps=7"))


def test_resumed_equals_uninterrupted(config, tmp_path, monkeypatch):
    options = ("loop.steps=8", "loop.checkpoint_every=3", "loop.ema_decay=0.9", "decoder.config.resid_pdrop=0.1")
    train(config(*options, f"output_dir={tmp_path / 'whole'}"))
    real = training.loop.learning_rate_factor

    def break_at_five(step, *rest):
        if step == 5:
            raise RuntimeError("the machine went down")
        return real(step, *rest)

    monkeypatch.setattr(training.loop, "learning_rate_factor", break_at_five)
    with pytest.raises(RuntimeError):
        train(config(*options, f"output_dir={tmp_path / 'parts'}"))
    assert (tmp_path / "parts" / "resume.pt").exists()
    monkeypatch.setattr(training.loop, "learning_rate_factor", real)
    train(config(*options, f"output_dir={tmp_path / 'parts'}"))
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=0)


def test_pairs_are_named_and_recorded(config, compose):
    assert compose("image_captioning", "train_on=pairs").output_dir.endswith("/demo_oracle_pairs_seed0")
    figures = train(config("train_on=pairs", "loop.steps=3"))
    assert set(figures) == {"text_loss", "paired_validation_loss"}
    provenance = Captioner.load(config().output_dir).provenance
    assert provenance["uses_pairs"] is True and provenance["captions"] == 80

    chosen = ("loop.keep=paired_validation_loss", "loop.evaluate_every=1")
    train(config("validate_on=pairs", "loop.steps=3", "overwrite=true", *chosen))
    provenance = Captioner.load(config().output_dir).provenance
    assert provenance["uses_pairs"] is True and provenance["train_on"] == "text"


def test_paired_inputs_are_the_aligned_images_of_the_captions(config, make_captioner):
    store = EmbeddingStore(config().store)
    captioner = make_captioner()
    tokens = CaptionTokens.encode(store.captions("val"), captioner.tokenizer, 40)
    chosen = torch.tensor([5, 30])
    examples = Examples.load(CaptionSelection(store, "val", chosen), tokens, captioner.alignment, "pairs")
    rows = store.tables.captions["image_row"].take(store.tables.caption_rows("val")[chosen.numpy()]).to_numpy()
    expected = captioner.alignment.inference_side(store._read("images", rows))
    torch.testing.assert_close(examples.inputs(captioner.alignment, torch.arange(2), torch.randn_like), expected)


def test_texts_aligned_once_meet_the_same_noise_in_every_epoch(config, make_captioner):
    store = EmbeddingStore(config().store)
    captioner = make_captioner(alignment=[{"step": "Normalize"}])
    captioner.alignment = Alignment.from_store(expand_steps(config().alignment, STEPS), STEPS, store)
    tokens = CaptionTokens.encode(store.captions("train"), captioner.tokenizer, 40)
    raw = Examples(store.texts("train", torch.float16), tokens)
    once, again = (raw.aligned_once(captioner.alignment, seed=0) for _ in range(2))
    assert torch.equal(once.rows, again.rows) and once.rows.dtype == torch.float16
    assert not torch.equal(once.rows, raw.aligned_once(captioner.alignment, seed=1).rows)
    clean = captioner.alignment.clean_side(raw.rows)
    kept = torch.nn.functional.cosine_similarity(once.rows.float(), clean)
    fresh = torch.nn.functional.cosine_similarity(captioner.alignment.training_side(raw.rows, torch.randn_like), clean)
    assert kept.max() < 0.999 and abs(kept.mean() - fresh.mean()) < 0.05
    assert torch.equal(
        once.inputs(captioner.alignment, torch.tensor([3, 3]), torch.randn_like), once.rows[[3, 3]].float()
    )
    assert train(config("text_noise=once", "loop.steps=2"))["text_loss"] > 0


def test_epochs_say_how_long_to_train(config, tmp_path):
    train(config("epochs=2", "loop.steps=null"))
    assert json.loads((tmp_path / "run" / "finished.json").read_text())["steps"] == 20  # 200 captions in batches of 20
    with pytest.raises(ValueError, match=r"epochs=2 and loop\.steps=800 both say how long"):
        train(config("epochs=2"))
    with pytest.raises(ValueError, match="epochs=0"):
        train(config("epochs=0", "loop.steps=null"))


def test_without_a_validation_split_some_training_texts_are_held_out(config, tmp_path):
    made = config("validation_split=null", "loop.steps=2")
    training, validation = select_captions(made, EmbeddingStore(made.store))
    assert training.split == validation.split == "train"
    assert torch.cat([training.rows, validation.rows]).sort().values.tolist() == list(range(200))
    assert len(validation.rows) == 20
    train(made)
    assert Captioner.load(made.output_dir).provenance["captions"] == 180
    for bad in ("validation_captions=null", "validation_captions=200", "train_on=pairs"):
        with pytest.raises(ValueError, match="validation_split=null holds out validation_captions="):
            train(config("validation_split=null", bad))


def test_a_corpus_of_text_without_a_validation_split_trains(config, tmp_path):
    whole = EmbeddingStore(config().store)
    rows = [
        {"caption_id": str(number), "image_row": None, "caption": caption, "split": "train"}
        for number, caption in enumerate(whole.captions("train"))
    ]
    root = tmp_path / "data" / "corpus"
    root.mkdir()
    write_tables(root, [], rows)

    class StoredTexts(Encoder):
        description, dims = whole.manifest.encoder, {"images": whole.dim, "texts": whole.dim}

        def encode_texts(self, texts, done):
            return whole.texts("train")[: len(texts)]

    store = write_store(root, StoredTexts(), name="words", text_split="train", image_mean_split=None)
    own = (f"store={store.path}", "validation_split=null", "loop.steps=2")
    assert train(config(*own))["text_loss"] > 0
    with pytest.raises(
        ValueError, match=r"no captions of split 'val'; its .* captions: train\. .*validation_split=null"
    ):
        train(config(*own[::2], "overwrite=true"))


def test_all_captions_of_an_image_are_held_out_together(config):
    made = config("validation_split=null")
    store = EmbeddingStore(made.store)
    store.manifest = replace(store.manifest, text_split="val")
    training, validation = select_captions(made, store)
    images = store.pairs("val")
    held, trained = (set(images[part.rows].tolist()) for part in (validation, training))
    assert len(validation.rows) == 20 and len(held) == 10  # two captions each
    assert len(held | trained) == 40 and not held & trained
    assert torch.equal(validation.rows, select_captions(made, store)[1].rows)
    other = config("validation_split=null", "seed=1")
    assert not torch.equal(validation.rows, select_captions(other, store)[1].rows)
    with pytest.raises(ValueError, match="validation_captions=79 leave no image of split 'val' to train on"):
        select_captions(config("validation_split=null", "validation_captions=79"), store)


def test_captions_without_images_are_held_out_one_by_one(config):
    store = EmbeddingStore(config().store)
    alone = select_captions(config("validation_split=null"), store)[1].rows
    assert torch.equal(alone, drawn_rows(200, 20, 0, 5))
    groups = store.tables.image_groups("val+train")
    assert groups[:6].tolist() == [0, 0, 1, 1, 2, 2] and groups[80:].tolist() == list(range(40, 240))


def test_fewer_captions_by_seed(config):
    for captions, expected in ((50, 50), (1000, 200)):
        train(config(f"train_captions={captions}", "loop.steps=2", "overwrite=true"))
        assert Captioner.load(config().output_dir).provenance["captions"] == expected


def test_a_captioner_of_fewer_captions_remembers_which_and_finds_them_again(config):
    made = config("corpus_captions=50", "loop.steps=2", "alignment=decap_memory_centred")
    train(made)
    store, captioner = EmbeddingStore(made.store), Captioner.load(made.output_dir)
    few, facts = store.with_captions(50), captioner.provenance
    assert facts["captions"] == 50 and facts["store_hash"] == few.hash
    assert facts["part_of"] == {"store_hash": store.hash, "captions": 50}
    *_, memory, _ = captioner.alignment.steps
    assert torch.equal(captioner.alignment.steps[1].training_mean, few.mean("text")) and len(memory.memory) == 50
    source = InferenceInputs(store, "test").training_source(captioner)
    assert source.store.hash == few.hash and source.store.captions(source.split) == few.captions("train")
    other = InferenceInputs(store.with_captions(40), "test").training_source(captioner)
    assert other.store.hash == few.hash  # whichever part of it is evaluated on
    alone = config("train_captions=50", "loop.steps=2", "overwrite=true")  # of the decoder's training text alone
    train(alone)
    captioner = Captioner.load(alone.output_dir)
    assert captioner.provenance["store_hash"] == store.hash and "part_of" not in captioner.provenance
    with pytest.raises(ValueError, match=r"corpus_captions=500 must be in 1\.\.200"):
        train(config("corpus_captions=500", "overwrite=true"))


@pytest.mark.parametrize("mapper", ["transformer", "linear"])
def test_other_mappers_and_bpe_train_and_load(config, mapper):
    heads = ["+decoder.mapper.heads=2", "+decoder.mapper.layers=1"] if mapper == "transformer" else []
    made = config(f"decoder.mapper.kind={mapper}", *heads, "decoder.tokenizer.kind=bpe", "loop.steps=3",
                  "loop.precision=bf16", "loop.gradient_accumulation=2")  # fmt: skip
    train(made)
    captioner = Captioner.load(made.output_dir)
    assert len(captioner.caption_images(torch.randn(3, 16), progress=False)) == 3


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["text_noise=never"], "text_noise='never' must be one of fresh, once"),
        (["train_captions=0"], "train_captions=0 must be null or a whole number, at least 1"),
        (["validate_on=images"], "validate_on='images' must be one of text, pairs"),
        (["store=nowhere/tiny/words"], "No embeddings in nowhere/tiny/words"),
        (["decoder.max_tokens=4"], "raise decoder.max_tokens"),
        (["+decoder.config.layers=3"], "gpt2 has no option 'layers'"),
        (["validation_split=nosplit"], "no captions of split 'nosplit'"),
        (["loop.keep=cider"], "keep='cider'"),
        (["loop.keep=paired_validation_loss", "loop.evaluate_every=1"], r"metrics .*: text_loss \(lower is better\)$"),
        (["decoder.pretrained=gpt2"], "exactly one of"),
    ],
)
def test_bad_options_are_one_sentence(config, overrides, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        train(config("loop.steps=1", *overrides))


def test_a_row_that_is_not_finite_is_named(config):
    made = config("loop.steps=1")
    path = f"{made.store}/texts.npy"
    texts = np.load(path)
    texts[-1, 0] = np.nan  # the last of the training texts, row 439 of all
    np.save(path, texts)
    with pytest.raises(ValueError, match=r"texts\.npy is damaged \(the text embedding of row 439 is not finite\)"):
        train(made)


@pytest.mark.slow
def test_two_processes_train_what_one_does(config, tmp_path):
    made = [f"store={config().store}", "alignment=c3", *SMALL, "loop.precision=no", "loop.steps=6", "loop.log_every=1"]
    made += [f"decoder.config.{name}_pdrop=0.0" for name in ("resid", "embd", "attn")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    figures = {}
    for name, command in (("one", [sys.executable]), ("two", launch)):
        command = [*command, "-m", "image_captioning.train", *made, f"output_dir={tmp_path / name}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr[-2000:]
        figures[name] = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
    for key in ("loss", "text_loss"):
        one, two = ([line[key] for line in figures[name] if key in line] for name in ("one", "two"))
        assert two == pytest.approx(one, rel=1e-4)
        assert one != two or key == "text_loss"  # summed in another order
    captions = [Captioner.load(tmp_path / name).caption_images(torch.ones(1, 16), progress=False) for name in figures]
    assert captions[0] == captions[1]
