"""The benchmarks at toy size through their entry function: both sides do the same work. Nothing here is timed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from image_captioning.data import CaptionTokens
from image_generation.flow import Sampling
from image_generation.pixels import to_pixels
from pcm_net.loss import spread_over_others
from pcm_net.task import PairExamples, PairTask
from scripts.benchmark import run, take_names
from scripts.benchmarks import captioning, drawing, generation, pcm_net, timing
from scripts.benchmarks import pcm_net_authors as authors
from scripts.benchmarks.diffusion import random_rows
from scripts.benchmarks.run import BENCHMARKS
from scripts.benchmarks.translation import trained_on_made_up
from training.batches import StepRandom

DECODER = ["decoder=demo", *(f"decoder.config.{key}" for key in ("n_layer=1", "n_embd=32", "n_head=2"))]
PCM_NET = [
    *("network.width=16", "network.layers=1", "network.heads=2", "network.feedforward=24", "decoder.max_tokens=21"),
    *("decoder.config.layers=1", "decoder.config.heads=2", "decoder.config.feedforward=24", "decoder.truncate=true"),
    *("loop.clip_value=0.1", "mixup.concepts=3", "mixup.pairs=2"),
]
TINY = [
    "repeats=1",
    "hardware.size=32",
    *("hardware.encode.images=2", "hardware.encode.texts=3"),
    f"hardware.decoder.overrides={DECODER}",
    *("hardware.decoder.captions=60", "hardware.decoder.batch_size=4", "hardware.decoder.warmup=1"),
    *("hardware.decoder.steps=2", "hardware.decoder.rows=3", "hardware.decoder.dim=16"),
    "encode.overrides=['encoder=demo_clip']",
    *("encode.images=3", "encode.images_single=2", "encode.texts=5", "encode.texts_single=2"),
    *("ddpm.dim=64", "ddpm.rows=9", "ddpm.batch_size=4", "ddpm.warmup=1", "ddpm.steps=2", "ddpm.steps_unet=1"),
    *("bridge.dim=64", "bridge.rows=6", "bridge.rows_unet=2", "bridge.rows_single=1", "bridge.image_timestep=9"),
    f"captioner.overrides={DECODER}",
    *("captioner.dim=16", "captioner.captions=60", "captioner.batch_size=4", "captioner.warmup=1", "captioner.steps=2"),
    *("ddpm.workers=0", "captioner.workers=0"),
    "captions.overrides=" + str([*DECODER, "+decoder.config.initializer_range=0.2"]),
    f"pcm_net.overrides={PCM_NET}",
    *("pcm_net.dim=8", "pcm_net.patches=4", "pcm_net.patch_width=6", "pcm_net.concepts=5", "pcm_net.words=60"),
    *("pcm_net.captions=9", "pcm_net.batch_size=4", "pcm_net.warmup=1", "pcm_net.steps=2", "pcm_net.workers=0"),
    *("pcm_net.rows=5", "pcm_net.caption_batch_size=3", "pcm_net.rows_single=3"),
    "drawing.overrides=['size=16','network.channels=[16,32]','network.layers=1','network.head_channels=16']",
    *("drawing.dim=16", "drawing.files=9", "drawing.file_size=20", "drawing.batch_size=4", "drawing.warmup=1"),
    *("drawing.steps=2", "drawing.workers=0", "drawing.pictures=3", "drawing.drawing_batch_size=2"),
    *("drawing.solver_steps=[1,3]", "drawing.steps_single=3", "drawing.pictures_single=2"),
    *("memory.rows=2000", "memory.dim=8", "memory.queries=6", "memory.neighbors=20", "memory.probes=[1,100]"),
    "scoring.captions=12",
    "translation.overrides=['model.cdim.denoiser.width=8','model.cdim.denoiser.depth=1','loop.batch_size=8']",
    *("translation.image_dim=8", "translation.text_dim=6", "translation.train_rows=20", "translation.train_steps=2"),
    *("translation.rows=7", "translation.rows_single=2", "translation.steps=[1,2]"),
    *("captions.dim=16", "captions.captions=60", "captions.rows=5", "captions.batch_size=3", "captions.rows_single=2"),
]


@pytest.fixture
def config(compose, tmp_path):
    return compose("benchmark", *TINY, f"output_dir={tmp_path}")


@pytest.mark.java
def test_every_benchmark_compares_both_sides_and_keeps_the_figures(config, tmp_path, capsys):
    results = run(config)
    printed = capsys.readouterr().out
    for name in BENCHMARKS:
        rows = results[name]
        if name == "hardware":
            assert [row["unit"] for row in rows] == ["GFLOP/s"] * 3 + ["per second"] * 5
            assert (
                all(row["rate"] > 0 for row in rows) and sum("what auto takes" in row["hardware"] for row in rows) == 1
            )
            continue
        assert rows[-1][name].endswith("(reference)") and rows[-1]["ratio"] == 1
        assert all(row["ratio"] > 0 for row in rows) and rows[0][name] in printed
        kept = json.loads((tmp_path / f"benchmark_{name}.json").read_text())
        assert kept["rows"] == rows and {"command", "commit", "machine", "threads", "config"} <= set(kept)
    same = {row["captions"]: row["same captions"] for row in results["captions"]}
    assert len(same) == 6 and all(share == 1 for name, share in same.items() if "bf16" not in name)
    assert [row["pcm_net"].split(",")[0] for row in results["pcm_net"] if row["ratio"] == 1] == ["training", "captions"]
    memory = {row["memory"]: row for row in results["memory"]}
    assert memory["the nearest, of all"]["neighbors found"] == 1 and memory["the nearest, 100 cells"]["cosine"] > 0.9
    assert list(memory)[-1] == "all rows (reference)" and memory["all rows (reference)"]["cosine"] == pytest.approx(1)
    assert [row["drawing"].split(",")[0] for row in results["drawing"] if row["ratio"] == 1] == ["training", "drawing"]
    same = {row["pcm_net"]: row["same captions"] for row in results["pcm_net"] if row["pcm_net"].startswith("captions")}
    assert len(same) >= 3 and all(share == 1 for name, share in same.items() if "bf16" not in name)
    # Rounding to bf16 is all that sets our rows apart.
    assert all(row["cosine"] > 0.999 for row in results["encode"])
    assert len({row["million parameters"] for row in results["captioner"]}) == 1


def test_one_at_a_time_draws_the_same_pictures(config):
    model = drawing.make_generator(config.drawing)
    rows = random_rows(2, 16)
    singly = to_pixels(drawing.draw_singly(model, rows, 3))
    batched = model.generate(rows, range(2), Sampling(3, solver="euler"), "fp32")
    assert (singly.int() - batched.int()).abs().max() <= 1


def test_the_translation_on_made_up_pairs_has_its_projection(compose):
    """It is solved for, not trained: left as it was made, it points nowhere."""
    made = compose("benchmark", *TINY, "translation.train_rows=200").translation
    translation, unseen = trained_on_made_up(made, torch.device("cpu"))
    projected = translation.translate(unseen.images, "image_to_text", terms="projection")
    assert (projected * unseen.texts).sum(dim=-1).mean() > 0.5


def test_unknown_names_and_no_repeats_are_refused(compose):
    with pytest.raises(ValueError, match="Unknown benchmark 'speed'"):
        run(compose("benchmark", "what=[bridge,speed]"))
    with pytest.raises(ValueError, match="repeats=0 must be a whole number, at least 1"):
        run(compose("benchmark", "repeats=0"))


def test_plain_words_choose_benchmarks(compose):
    arguments = take_names(["bridge", "repeats=2", "pcm_net"])
    assert arguments == ["repeats=2", "what=[bridge,pcm_net]"]
    assert compose("benchmark", *arguments).what == ["bridge", "pcm_net"]
    assert take_names(["repeats=2"]) == ["repeats=2"]


@pytest.fixture
def captioner(config):
    """A captioner and the captions of its vocabulary."""
    captions = captioning.made_up_captions(60)
    return captioning.make_captioner(config.captions, captions).eval(), captions


def test_the_loss_of_padded_captions_is_that_of_our_forward(captioner):
    model, captions = captioner
    tokens, mask = CaptionTokens.encode(captions, model.tokenizer, 100).batch(torch.arange(7), width=60)
    rows = random_rows(7, 16)
    ours = model(model.align_texts(rows), tokens, mask).sum() / mask.sum()
    torch.testing.assert_close(captioning.padded_loss(model, rows, tokens, mask), ours)


def test_beams_find_what_greedy_search_misses(captioner):
    model, _ = captioner
    images = random_rows(6, 16)
    greedy = torch.stack([generation.write_one(model, image, 8) for image in images])
    beams = torch.stack([generation.write_one(model, image, 8, beams=5) for image in images])
    assert (greedy != beams).any()


def test_sides_that_write_other_captions_are_refused(config, monkeypatch):
    monkeypatch.setattr(generation, "write_one", lambda model, image, length, beams: torch.zeros(length, dtype=int))
    with pytest.raises(ValueError, match="Only 0% of the captions are the same"):
        generation.benchmark_captions(config.captions, 1)


@pytest.fixture
def pictures(config, tmp_path):
    return pcm_net.make_pictures(tmp_path, config.pcm_net)


def test_archives_hold_what_the_arrays_do(pictures):
    for number in (0, 8):
        features, row = authors.Archives(pictures.archives)[number]
        assert np.array_equal(features, pictures.features[number]) and np.allclose(row, pictures.rows[number])
        patches = F.normalize(pictures.head(torch.from_numpy(features)), dim=-1)
        torch.testing.assert_close(patches, pictures.patches[number], atol=1e-3, rtol=0)  # float16


def test_both_sides_train_by_the_same_loss(config, pictures):
    """But for the entropy of the smoothed words, which has no gradient."""
    options = config.pcm_net
    model = pcm_net.make_model(options).eval()  # without dropout
    tokens, numbers = pcm_net.tokens_of(model, options), torch.arange(4)
    smoothing, words = 0.1, model.language_model.config.vocab_size
    weights = torch.linspace(0.2, 1, len(tokens))
    parts = (tokens, pictures.rows.half(), pictures.patches, pictures.features, torch.arange(len(tokens)))
    spread = spread_over_others(smoothing, words)
    task = PairTask(
        model, PairExamples(*parts).aligned_once(model.alignment), {}, (), 4, 0, spread, caption_weights=weights
    )
    task.order.batch = lambda step: numbers
    ours = task.loss(model, StepRandom(0, 0, 4, slice(0, 4)))["loss"]

    padded, mask = tokens.batch(numbers, 21)
    features, images = pictures.features[numbers], pictures.rows[numbers].half().float()
    logits = model.logits(authors.read(model, pictures.head, features, images), padded)
    theirs = authors.smoothed_loss(logits, padded, mask, weights[numbers], smoothing)
    entropy = -(1 - smoothing) * math.log(1 - smoothing) - smoothing * math.log(smoothing / (words - 1))
    constant = entropy * float((weights[numbers] * tokens.lengths[numbers]).sum() / tokens.lengths[numbers].sum())
    torch.testing.assert_close(ours, theirs + constant, atol=1e-3, rtol=0)
    weight = model.encoder.embed_patches.weight
    gradients = [torch.autograd.grad(loss, weight)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-2)


def test_the_authors_encoder_hides_the_words_that_ours_leaves_out(config, pictures):
    model = pcm_net.make_model(config.pcm_net).eval()
    inputs = pcm_net.inputs_of(model, pictures, 5)
    ours = model.context(inputs).encoded
    states, seen = authors.encode(model, inputs[:5])
    for row in range(5):
        torch.testing.assert_close(states[row, seen[row]], ours.states[row, ours.mask[row]])


def test_authors_captions_that_differ_are_refused(config, pictures, monkeypatch):
    monkeypatch.setattr(
        pcm_net, "write", lambda model, inputs, words, beams: torch.zeros(len(inputs), words, dtype=int)
    )
    with pytest.raises(ValueError, match="Only 0% of the captions are the same"):
        pcm_net.captioning_rows(config.pcm_net, 1, pictures)


def test_made_up_captions_are_as_long_as_cocos_and_written_ones_shorter():
    lengths = captioning.caption_lengths(20_000)
    assert abs(lengths.mean() - 10.5) < 0.2 and lengths.min() >= 5 and 40 < lengths.max() <= 49
    assert generation.written_lengths(20_000).max() == 16
    assert [len(text.split()) for text in captioning.made_up_captions(500)] == captioning.caption_lengths(500).tolist()


def test_the_clock_leaves_the_first_steps_out_and_takes_the_median(monkeypatch):
    times = iter([0.0, 9.0, 10.0, 12.0, 13.0])
    monkeypatch.setattr(timing, "now", lambda: next(times))
    clock = timing.StepClock()
    for _ in range(5):
        clock.tick()
    assert clock.rate([4, 4, 4, 6], warmup=1) == 4  # of 4/1, 4/2 and 6/1
