"""ddpm.train on a tiny store: it learns, resumes exactly, and its configs compose."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch.nn.functional import normalize

from alignment.chain import Alignment
from alignment.options import expand_steps, step_entries
from common.hints import with_hint
from ddpm.bridge import load_text_diffusion
from ddpm.diffusion import TextDiffusion
from ddpm.task import DiffusionTask
from ddpm.training_run import _rows, train
from embedding_space.store import EmbeddingStore
from image_captioning.alignments import STEPS

TINY = (
    "denoiser.width=32", "denoiser.depth=1", "denoiser.time_width=16",
    "loop.batch_size=64", "loop.warmup_steps=0", "loop.evaluate_every=20", "loop.checkpoint_every=null",
    "loop.precision=fp32",
)  # fmt: skip


@pytest.fixture
def configured(make_store, compose, tmp_path):
    """Compose ddpm's config for a tiny store: `configured(folder name, overrides...)`."""
    store = make_store(dim=16)

    def config(name: str, *overrides: str):
        return compose(
            "ddpm", f"store={store.path}", f"output_dir={tmp_path / name}", *TINY, "loop.steps=60", *overrides
        )

    config.store = store
    return config


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_model_of_fewer_captions_knows_no_others(configured, tmp_path):
    few = configured.store.with_captions(30)
    seen = torch.cat(_rows(few, None, 10))
    assert {tuple(row) for row in seen.tolist()} == {tuple(row) for row in few.texts("train").tolist()}
    train(configured("few", "loop.steps=2", "corpus_captions=30", "validation_rows=8"))
    model = load_text_diffusion(tmp_path / "few")
    assert torch.equal(model.prefix.steps[1].training_mean, few.mean("text"))
    assert OmegaConf.load(tmp_path / "few/config.yaml").inputs.store == few.hash
    with pytest.raises(ValueError, match="corpus_captions was 30 there and is 40 now"):
        train(configured("few", "loop.steps=2", "corpus_captions=40", "validation_rows=8"))
    entries = [*step_entries({"steps": ["Normalize", "Center", "Normalize"]}, STEPS)]
    entries += [{"step": "DiffusionBridge", "diffusion": str(tmp_path / "few")}, {"step": "Normalize"}]
    assert Alignment.from_store(entries, STEPS, few)
    other = configured.store.with_captions(40)
    with pytest.raises(ValueError, match=r"The text mean of .* is not the one") as caught:
        Alignment.from_store(entries, STEPS, other)
    assert with_hint(caught.value).endswith(f"run python -m ddpm.train store={other.path} corpus_captions=40")


def test_training_lowers_the_loss_and_leaves_a_loadable_model(configured, tmp_path):
    figures = train(configured("run", "loop.steps=200", "loop.learning_rate=3e-3", "loop.ema_decay=0.9"))
    validation = [line for line in metrics(tmp_path / "run") if "validation_loss" in line]
    assert validation[-1]["validation_loss"] < 0.8 * validation[0]["validation_loss"]
    assert validation[-1]["cosine_t200"] > validation[0]["cosine_t200"]
    assert set(figures) == {"validation_loss", "cosine_t200", "cosine_t400", "cosine_t600"}
    assert figures["cosine_t200"] > figures["cosine_t400"] > figures["cosine_t600"]
    model = load_text_diffusion(tmp_path / "run")
    assert torch.equal(model.prefix.steps[1].training_mean, configured.store.mean("text"))
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    assert config.diffusion.embed_scale == model.embed_scale


def test_saved_weights_are_the_averaged_ones(configured, tmp_path):
    # ema-pytorch copies for 100 steps and averages after
    train(configured("averaged", "loop.ema_decay=0.9999", "loop.steps=120"))
    train(configured("raw", "loop.ema_decay=null", "loop.steps=120"))
    averaged, raw = (load_file(tmp_path / name / "model.safetensors") for name in ("averaged", "raw"))
    assert averaged.keys() == raw.keys()
    assert any(not torch.equal(averaged[name], raw[name]) for name in raw)


def test_an_interrupted_run_goes_on_exactly(configured, tmp_path, monkeypatch):
    figures = train(configured("whole"))
    loss = DiffusionTask.loss

    def interrupting(self, model, random):
        if random.step == 25:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, model, random)

    monkeypatch.setattr(DiffusionTask, "loss", interrupting)
    with pytest.raises(KeyboardInterrupt, match="step 26 of 60"):
        train(configured("parts"))
    monkeypatch.setattr(DiffusionTask, "loss", loss)
    load_text_diffusion(tmp_path / "parts")  # what an interrupt leaves can be used
    assert train(configured("parts")) == figures
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    steps = [line["step"] for line in metrics(tmp_path / "parts") if "validation_loss" in line]
    assert steps == [20, 40, 60]


def test_a_finished_run_is_used_again_and_another_config_refused(configured, tmp_path, capsys):
    figures = train(configured("run", "loop.steps=2"))
    written = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    again = train(configured("run", "loop.steps=2"))
    assert figures.items() <= again.items()
    assert "Already trained" in capsys.readouterr().out
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match=r"diffusion\.embed_scale.*overwrite=true"):
        train(configured("run", "loop.steps=2", "diffusion.embed_scale=2"))
    train(configured("run", "loop.steps=2", "diffusion.embed_scale=2", "overwrite=true"))
    assert load_text_diffusion(tmp_path / "run").embed_scale == 2


def test_training_reads_no_images(configured):
    figures = train(configured("run", "loop.steps=2"))
    path = configured.store.path / "images.npy"
    np.save(path, np.full_like(np.load(path), np.nan))
    assert train(configured("blind", "loop.steps=2")) == figures


@pytest.mark.parametrize(
    "overrides",
    [
        ("denoiser=unet1d", "denoiser.width=8", "denoiser.multipliers=[1,2]"),
        ("diffusion.objective=pred_noise", "diffusion.renormalize_state=false", "diffusion.loss_weighting=snr"),
        ("diffusion.objective=pred_v", "diffusion.renormalize_state=false", "diffusion.loss_weighting=min-snr"),
        ("diffusion.schedule=linear", "diffusion.timesteps=100"),
        ("loop.precision=bf16", "loop.gradient_accumulation=2"),
        ("loop.keep=cosine_t200", "prefix=[{step: Normalize}]", "validation_rows=7"),
    ],
)
def test_every_kind_trains(make_store, compose, tmp_path, overrides):
    store = make_store(dim=16)
    tiny = TINY[3:] if "denoiser=unet1d" in overrides else TINY
    figures = train(
        compose("ddpm", f"store={store.path}", f"output_dir={tmp_path / 'run'}", *tiny, "loop.steps=3", *overrides)
    )
    assert all(torch.isfinite(torch.tensor(value)) for value in figures.values())
    load_text_diffusion(tmp_path / "run")


def test_trained_model_in_the_shipped_alignment(configured, compose, tmp_path):
    train(configured("run", "loop.steps=2"))
    path = Path(__file__).parents[2] / "configs" / "alignment" / "diffusion_bridge.yaml"
    config = OmegaConf.create({"alignment": OmegaConf.load(path), "dataset": {"name": "tiny"}, "seed": 0})
    assert config.alignment.diffusion == "outputs/ddpm/tiny_seed0"
    config.alignment.diffusion = str(tmp_path / "run")
    alignment = Alignment.from_store(expand_steps(config.alignment, STEPS), STEPS, configured.store)
    assert alignment.inference_side(configured.store.images("test")).shape == (40, 16)


def test_a_prefix_that_draws_noise_is_refused(configured):
    noisy = "prefix=[{step: Normalize}, {step: GaussianNoise, noise_std: 0.1}, {step: Normalize}]"
    with pytest.raises(ValueError, match="prefix must not draw noise"):
        train(configured("run", noisy))


def test_default_config_is_a_model_of_the_promised_size(compose):
    config = OmegaConf.to_container(compose("ddpm"), resolve=True)
    model = TextDiffusion(128, config["denoiser"], **config["diffusion"])
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 2.5e6
    assert config["output_dir"] == "outputs/ddpm/demo_seed0"


def test_command_line_prints_one_sentence_without_a_store(tmp_path):
    command = [
        sys.executable,
        "-m",
        "ddpm.train",
        f"store={tmp_path / 'none'}",
        f"output_dir={tmp_path / 'run'}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Error: No embeddings in" in done.stderr and "scripts/prepare_data.py" in done.stderr


@pytest.mark.slow
def test_a_compiled_run_is_the_run_without(configured, tmp_path):
    eager, compiled = (
        train(configured(name, "loop.steps=20", f"loop.compile={name == 'compiled'}")) for name in ("eager", "compiled")
    )
    assert compiled == pytest.approx(eager, rel=1e-3)
    losses = [[line["loss"] for line in metrics(tmp_path / name) if "loss" in line] for name in ("eager", "compiled")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    names = [load_file(tmp_path / name / "model.safetensors").keys() for name in ("eager", "compiled")]
    assert names[0] == names[1] and load_text_diffusion(tmp_path / "compiled")


def test_without_a_validation_split_some_training_texts_are_held_out(configured):
    store = configured.store
    rows, validation = _rows(store, None, 50)
    assert rows.dtype == torch.float16 and (len(rows), len(validation)) == (150, 50)
    both = torch.cat([rows, validation]).float()
    found, expected = (tensor.sum(1).sort().values for tensor in (both, store.texts(store.text_split)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert len(_rows(store, "val", 50)[0]) == 200 and len(_rows(store, "val", 1000)[1]) == 80
    figures = train(configured("held_out", "validation_split=null", "validation_rows=50", "loop.steps=2"))
    assert figures != train(configured("val", "validation_rows=50", "loop.steps=2"))
    for count in (0, 200):
        with pytest.raises(ValueError, match=f"validation_rows={count} must be"):
            train(configured("bad", "validation_split=null", f"validation_rows={count}"))


@pytest.mark.slow
def test_two_processes_train_what_one_does(configured, tmp_path):
    root = Path(__file__).parents[2]
    train(configured("one", "loop.steps=6"))
    arguments = [f"store={configured.store.path}", f"output_dir={tmp_path / 'two'}", *TINY, "loop.steps=6"]
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "-m",
        "ddpm.train",
    ]
    done = subprocess.run([*launch, *arguments], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
    logged = [metrics(tmp_path / name)[0]["loss"] for name in ("one", "two")]
    assert logged[0] == pytest.approx(logged[1], rel=1e-5) and logged[0] != logged[1]  # summed in another order


def test_another_text_split_than_the_stores_is_warned_of(configured, caplog):
    config = configured("run", "loop.steps=1", "dataset.text_split=train+extra")
    train(config)
    assert "dataset.text_split=train+extra has no effect on training" in caplog.text
    assert "prepare_data.py" in caplog.text


def test_a_scale_given_as_a_word_is_a_number_wherever_it_is_kept(configured, tmp_path, capsys):
    options = ("loop.steps=2", "diffusion.embed_scale=sqrt_dim")
    train(configured("run", *options))
    assert load_text_diffusion(tmp_path / "run").embed_scale == 4  # of 16 dimensions
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").diffusion.embed_scale == 4
    assert json.loads((tmp_path / "run" / "config.json").read_text())["embed_scale"] == 4
    for again in (options, ("loop.steps=2", "diffusion.embed_scale=4")):  # both are the run that is there
        capsys.readouterr()
        train(configured("run", *again))
        assert "Already trained" in capsys.readouterr().out


def test_a_model_of_images_trains_on_the_images_of_the_image_mean(configured, tmp_path):
    train(configured("images", "loop.steps=2", "modality=images", "validation_rows=4"))
    model = load_text_diffusion(tmp_path / "images")
    store = configured.store
    assert model.modality == "images" and torch.equal(model.prefix.steps[1].training_mean, store.mean("image"))
    of_images = EmbeddingStore(store.path, training_modality="images")
    trained, validated = _rows(of_images, "val", 4)
    assert torch.equal(trained.float(), store.images("pretrain")) and len(validated) == 4
    assert configured("x", "modality=images").name == "demo_images_seed0"

    steps = ["Normalize", "Center", "Normalize", "DiffusionBridge", "Normalize"]
    method = {"steps": steps, "diffusion": str(tmp_path / "images"), "text_timestep": None, "image_timestep": 30}
    entries = step_entries(method, STEPS)
    with pytest.raises(ValueError, match="is one of images, and this alignment has texts on its training side"):
        Alignment.from_store(entries, STEPS, store)
    bridge = Alignment.from_store(entries, STEPS, of_images)
    images, texts = store.images("val"), store.texts("val")
    centred = normalize(normalize(images, dim=-1) - store.mean("image"), dim=-1)
    torch.testing.assert_close(bridge.training_side(images), centred)
    assert bridge.inference_side(texts).shape == texts.shape


def test_runs_of_earlier_versions_which_knew_texts_alone_are_reused(configured, tmp_path, capsys):
    config = configured("old", "loop.steps=2", "validation_rows=8")
    train(config)
    saved = OmegaConf.load(tmp_path / "old/config.yaml")
    del saved.modality, saved.names
    OmegaConf.save(saved, tmp_path / "old/config.yaml")
    train(config)
    assert "Already trained" in capsys.readouterr().out
    with pytest.raises(ValueError, match="modality was 'texts' there and is 'images' now"):
        train(configured("old", "loop.steps=2", "validation_rows=8", "modality=images"))
