"""Every stage through its real entry point on a tiny world, and what users do wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

import image_captioning.caption_photos as caption_script
from common.hints import with_hint
from comparison.prepare_data import prepare
from embedding_space.encoders.load import reload_encoder
from embedding_space.store import EmbeddingStore
from evaluation.captions.prediction_files import read_predictions
from evaluation.captions.result import EvaluationResult
from evaluation.captions.scoring_options import Scoring
from evaluation.reports.comparison_tables import results_table
from image_captioning.caption_photos import caption, find_files
from image_captioning.captioner import Captioner
from image_captioning.eval_coco import evaluate
from image_captioning.evaluate import evaluate_captioner
from image_captioning.inference_inputs import InferenceInputs
from scripts.caption import take_paths
from scripts.demo import run as run_demo

ROOT = Path(__file__).resolve().parents[2]

WORLD = [
    f"dataset.{split}_scenes={count}" for split, count in (("pretrain", 24), ("train", 40), ("val", 8), ("test", 10))
]
DDPM = ["loop.steps=6", "loop.batch_size=16", "denoiser.width=32", "denoiser.depth=1", "loop.checkpoint_every=null"]
CAPTIONER = [
    "loop.steps=6",
    "loop.batch_size=16",
    "loop.warmup_steps=2",
    "loop.precision='no'",
    "decoder.config.n_layer=1",
    "decoder.config.n_embd=32",
    "decoder.config.n_head=2",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A whole demo run on a tiny world: (its folder, config, results)."""
    from common.config import compose_config

    folder = tmp_path_factory.mktemp("demo")
    config = compose_config(
        "demo",
        f"output_dir={folder}/demo",
        f"runs_dir={folder}/outputs",
        "oracles=[oracle_pairs,oracle_text]",
        "methods=[c1,c2_collapse,c2_corrupt,c3,decap_memory,diffusion_bridge]",
        "metrics=[CIDEr]",
        "examples=3",
    )
    config.prepare = [*WORLD, f"dataset.root={folder}/data/demo", "encoder.precision=fp32"]
    config.ddpm, config.captioner = DDPM, CAPTIONER
    return folder, config, run_demo(config)


@pytest.mark.java
def test_the_demo_trains_and_scores_every_method_and_writes_its_report(demo):
    folder, config, result = demo
    assert [run.method for run in result.runs] == [*config.methods, *config.oracles]
    assert all(run.cider is not None and run.result.images == 10 for run in result.runs)
    assert [run.result.uses_pairs for run in result.runs] == [False] * 6 + [True, False]
    report = (folder / "demo" / "report.html").read_text()
    assert "diffusion_bridge" in report and "data:image" in report and 'src="http' not in report
    assert json.loads((folder / "demo" / "results.json").read_text()) == result.to_json()
    assert (folder / "demo" / "grid.png").stat().st_size > 1000


@pytest.mark.java
def test_the_oracle_of_texts_is_scored_against_the_other_four_references(demo):
    folder, *_ = demo
    store = EmbeddingStore(folder / "data/demo/demo_clip")
    all_five = store.tables.references("test")
    used = json.loads((folder / "outputs/evaluation/demo_oracle_text_seed0_test/references.json").read_text())
    assert {name: captions[1:] for name, captions in all_five.items()} == used


@pytest.mark.java
def test_the_demo_refuses_unknown_methods_before_it_trains_anything(demo):
    _, config, _ = demo
    for change, message in (
        ({"methods": ["c2_collapse", "c4"]}, "alignment=c4"),
        ({"oracles": ["oracle"]}, "oracle_pairs"),
        ({"seeds": []}, "must not be empty"),
        ({"metrics": ["CIDER"]}, "Unknown metrics"),
        ({"methods": ["c1"], "oracles": ["oracle_text"]}, "add c2_collapse"),
    ):
        with pytest.raises(ValueError, match=message):
            run_demo(OmegaConf.merge(config, change))


@pytest.mark.java
def test_scores_are_made_anew_when_an_option_outside_the_weights_changes(demo, tmp_path):
    folder, *_ = demo
    store = EmbeddingStore(folder / "data/demo/demo_clip")
    run = shutil.copytree(folder / "outputs/image_captioning/demo_diffusion_bridge_seed0", tmp_path / "run")

    def renew() -> EvaluationResult:
        options = {"scoring": Scoring(["CIDEr"]), "existing": "reuse"}
        return evaluate_captioner(Captioner.load(run), InferenceInputs(store, "test"), tmp_path / "scores", **options)

    first = renew()
    assert renew().to_json() == json.loads(json.dumps(first.to_json()))
    config = json.loads((run / "config.json").read_text())
    bridge = next(step for step in config["alignment"] if step["step"] == "DiffusionBridge")
    bridge["image_steps"] += 1
    (run / "config.json").write_text(json.dumps(config))
    assert renew().inputs["checkpoint"] != first.inputs["checkpoint"]


@pytest.mark.java
def test_a_second_run_reuses_what_is_there_even_after_more_texts_were_encoded(demo, compose, tmp_path, monkeypatch):
    folder, config, result = demo
    store = EmbeddingStore(folder / "data/demo/demo_clip")
    assert store.manifest.text_splits == ["test", "train", "val"]  # the oracle reads its pairs' images and words
    with pytest.raises(ValueError, match="not of split 'pretrain'"):
        store.texts("pretrain")
    added = prepare(compose("prepare_data", *config.prepare, f"output_dir={tmp_path}", "text_splits=pretrain"))
    assert added.manifest.text_splits is None and added.hash == store.hash and len(added.texts("pretrain")) == 120
    weights = folder / "outputs/image_captioning/demo_c3_seed0/model.safetensors"
    before = weights.stat().st_mtime_ns
    monkeypatch.setattr("image_captioning.captioner.Captioner.caption", lambda *a, **k: pytest.fail("captioned"))
    monkeypatch.setattr("training.loop.Loop.fit", lambda *a, **k: pytest.fail("trained"))
    again = run_demo(config)
    assert weights.stat().st_mtime_ns == before
    assert [run.result.metrics for run in again.runs] == [run.result.metrics for run in result.runs]


@pytest.mark.java
def test_the_table_gathers_seeds_and_marks_no_oracle_as_best(demo):
    *_, result = demo
    table = results_table([replace(run, seed=seed) for seed in (0, 1) for run in result.runs])
    assert len(table.rows) == 8 and all(len(row["CIDEr"]) == 2 for row in table.rows)
    oracle = next(row for row in table.cells() if row[0].text == "oracle_pairs")
    assert not any(cell.best for cell in oracle)


@pytest.mark.java
def test_eval_coco_scores_a_captioner_and_then_its_own_predictions_alike(demo, compose, tmp_path, capsys):
    folder, *_ = demo
    checkpoint = folder / "outputs/image_captioning/demo_c3_seed0"
    first = evaluate(
        compose(
            "eval_coco",
            f"checkpoint={checkpoint}",
            f"store={folder}/data/demo/demo_clip",
            "metrics=[BLEU,CIDEr]",
            f"output_dir={tmp_path}/a",
            f"cache_dir={tmp_path}/cache",
            "decoding=beam",
        )
    )
    assert "CIDEr" in capsys.readouterr().out
    second = evaluate(
        compose(
            "eval_coco",
            f"predictions={tmp_path}/a/predictions.json",
            f"references={tmp_path}/a/references.json",
            "metrics=[BLEU,CIDEr]",
            f"output_dir={tmp_path}/b",
            f"cache_dir={tmp_path}/cache",
        )
    )
    assert first.metrics == second.metrics and first.decoding["beams"] == 5
    for name in ("predictions.json", "scores.json", "per_image.json", "config.yaml"):
        assert (tmp_path / "b" / name).exists()


@pytest.mark.java
@pytest.mark.slow
def test_a_sweep_over_the_image_side_leaves_a_folder_for_each_value(demo, tmp_path):
    folder, *_ = demo
    checkpoint = folder / "outputs/image_captioning/demo_diffusion_bridge_seed0"
    script = str(ROOT / "scripts/eval_coco.py")
    arguments = [f"checkpoint={checkpoint}", f"store={folder}/data/demo/demo_clip", "metrics=[CIDEr]"]
    sweep = [sys.executable, script, "-m", *arguments, "image_side.image_timestep=100,300", "image_side.image_steps=1"]
    for said in ("Predictions and scores", "Already evaluated"):
        done = subprocess.run(sweep, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout.count(said) == 2, done.stderr
    found = {path.name for path in (tmp_path / "outputs/evaluation").iterdir()}
    ending = "test_greedy_image_timestep{}_image_steps1"
    assert found == {f"{checkpoint.name}_{ending.format(timestep)}" for timestep in (100, 300)}


@pytest.mark.java
def test_an_evaluation_can_be_sent_to_the_dashboard(demo, compose, tmp_path, monkeypatch):
    folder, *_ = demo
    monkeypatch.setenv("WANDB_MODE", "offline")
    options = [f"checkpoint={folder}/outputs/image_captioning/demo_c1_seed0", f"store={folder}/data/demo/demo_clip"]
    evaluate(compose("eval_coco", *options, "metrics=[CIDEr]", f"output_dir={tmp_path}", "tracker=wandb"))
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_predictions_are_on_disk_before_anything_is_scored(demo, compose, tmp_path, monkeypatch):
    folder, *_ = demo

    def fail(*args, **kwargs):
        raise RuntimeError("scoring died")

    monkeypatch.setattr("evaluation.captions.scorer.score_captions", fail)
    config = compose(
        "eval_coco",
        f"checkpoint={folder}/outputs/image_captioning/demo_c1_seed0",
        f"output_dir={tmp_path}",
        f"store={folder}/data/demo/demo_clip",
    )
    with pytest.raises(RuntimeError, match="scoring died"):
        evaluate(config)
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == 10


NAMES = ["plain.png", "two words.png", "it's (1).png", "a=b.png", "ünïcödé 你好.png", "comma, [x].png"]


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "sub folder").mkdir()
    for number, name in enumerate(NAMES):
        pixels = np.full((50 + number, 70, 3), 30 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / ("sub folder" if number % 2 else ".") / name)
    (tmp_path / "broken.png").write_bytes(b"no picture at all")
    (tmp_path / "notes.txt").write_text("not a picture, and not looked at in a folder")
    return tmp_path


def test_caption_reads_files_and_folders_of_any_name_and_skips_what_is_broken(demo, pictures, compose, capsys):
    folder, *_ = demo
    checkpoint = f"checkpoint={folder}/outputs/image_captioning/demo_diffusion_bridge_seed0"
    config = compose("caption", checkpoint, f"output_dir={pictures}/out")
    captions = caption(config, [pictures])
    assert sorted(Path(path).name for path in captions) == sorted(NAMES)
    printed = capsys.readouterr()
    assert "broken.png cannot be read" in printed.err and all(name in printed.out for name in NAMES)
    assert json.loads((pictures / "out/captions.json").read_text()) == captions
    assert len((pictures / "out/captions.csv").read_text().splitlines()) == len(NAMES) + 1


def test_a_file_name_that_is_not_utf8_is_captioned_and_its_captions_can_be_scored(demo, compose, tmp_path):
    folder, *_ = demo
    (tmp_path / "pictures").mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    try:
        Image.new("RGB", (50, 50)).save(tmp_path / "pictures" / name)
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    config = compose("caption", f"checkpoint={folder}/outputs/image_captioning/demo_c1_seed0", f"output_dir={tmp_path}")
    captions = caption(config, [tmp_path / "pictures"])
    assert json.loads((tmp_path / "captions.json").read_text(encoding="utf-8")) == captions
    assert read_predictions(tmp_path / "captions.json") == captions
    assert "caf" in (tmp_path / "captions.csv").read_text(encoding="utf-8")


def test_a_checkpoint_made_in_half_precision_on_a_gpu_captions_on_a_cpu(demo, pictures, compose, monkeypatch):
    folder, *_ = demo
    run = shutil.copytree(folder / "outputs/image_captioning/demo_c1_seed0", pictures / "run")
    config = json.loads((run / "config.json").read_text())
    config["encoder"]["precision"] = "fp16"
    (run / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    made = []
    monkeypatch.setattr(
        caption_script, "reload_encoder", lambda *a, **k: made.append(reload_encoder(*a, **k)) or made[-1]
    )
    paths, options = (
        [pictures / "plain.png", pictures / "sub folder"],
        [f"checkpoint={run}", f"output_dir={pictures}/out"],
    )
    captions = caption(compose("caption", *options), paths)
    others = ["encoder.precision=bf16", "encoder.batch_size=2", "encoder.workers=1", "encoder.device=cpu"]
    assert caption(compose("caption", *options, *others), paths).keys() == captions.keys()
    assert [(encoder.requested_precision, encoder.batch_size, encoder.workers) for encoder in made] == [
        ("auto", 256, 0),
        ("bf16", 2, 1),
    ]


def test_existing_paths_are_pictures_whatever_they_look_like_and_the_rest_is_hydras(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    paths, options = take_paths(
        ["plain.png", "sub folder/a=b.png", "sub folder", "decoding=beam", "~seed", "--cfg=job"]
    )
    assert [str(path) for path in paths] == ["plain.png", "sub folder/a=b.png", "sub folder"]
    assert options == ["decoding=beam", "~seed", "--cfg=job"]
    with pytest.raises(FileNotFoundError, match=r"no file or folder 'typo.jpg'"):
        take_paths(["typo.jpg"])


def test_caption_says_when_there_is_nothing_to_caption(demo, compose, tmp_path):
    folder, *_ = demo
    config = compose(
        "caption", f"checkpoint={folder}/outputs/image_captioning/demo_c1_seed0", f"output_dir={tmp_path}/o"
    )
    with pytest.raises(ValueError, match="give files or folders"):
        caption(config, [])
    (tmp_path / "x.jpg").write_text("no")
    with pytest.raises(ValueError, match="None of the 1 pictures"):
        caption(config, [tmp_path / "x.jpg"])
    assert find_files([tmp_path], "image") == ([tmp_path / "x.jpg"], {})


def test_caption_as_a_command_takes_awkward_names_and_fails_in_one_sentence(demo, pictures):
    folder, *_ = demo
    script = [sys.executable, str(ROOT / "scripts/caption.py")]
    checkpoint = f"checkpoint={folder}/outputs/image_captioning/demo_c1_seed0"
    awkward = str(pictures / "sub folder" / "a=b.png")
    done = subprocess.run(
        [*script, awkward, str(pictures / "broken.png"), checkpoint, f"output_dir={pictures}/o"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and awkward in done.stdout and "Skipped" in done.stderr
    missing = subprocess.run(
        [*script, awkward, "checkpoint=outputs/image_captioning/nowhere"], capture_output=True, text=True, cwd=folder
    )
    assert missing.returncode == 1 and "Traceback" not in missing.stderr
    assert missing.stderr.count("Error:") == 1 and "image_captioning.train" in missing.stderr


def test_prepare_reuses_its_store_and_refuses_unknown_kinds(demo, compose):
    folder, config, _ = demo
    overrides = [*config.prepare, f"output_dir={folder}/again"]
    store = prepare(compose("prepare_data", *overrides))
    assert store.manifest.rows["images"] == 42
    assert store.manifest.image_mean_split == "pretrain"
    with pytest.raises(ValueError, match=r"'parquet' \(option dataset\.kind\)"):
        prepare(compose("prepare_data", *overrides, "dataset.kind=parquet"))
    with pytest.raises(ValueError, match="lacks the key image_mean_split"):
        prepare(compose("prepare_data", *overrides, "~dataset.image_mean_split"))


def test_the_wrong_store_is_refused_by_name(demo, compose, make_store, tmp_path):
    folder, *_ = demo
    other = make_store(dim=32)
    config = compose(
        "eval_coco",
        f"checkpoint={folder}/outputs/image_captioning/demo_c1_seed0",
        f"store={other.path}",
        f"output_dir={tmp_path}/o",
    )
    with pytest.raises(ValueError, match="choose the store of the same encoder"):
        evaluate(config)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["predictions=only.json"], "go together"),
        (["caption_from=sounds"], "caption_from='sounds'"),
        (["decoding.top_p=0.5"], "decoding.top_p"),
        (["checkpoint=outputs/image_captioning/nowhere"], "No captioner in outputs/image_captioning/nowhere"),
        (["store=data/nowhere/clip"], "dataset=tables dataset.name=nowhere encoder=CONFIG encoder.name=clip"),
        (["metrics=[CIDER]"], "Unknown metrics"),
        (["checkpoint=null"], "nothing to score"),
    ],
)
def test_eval_coco_refuses_bad_options_in_one_sentence(demo, compose, tmp_path, overrides, message):
    folder, *_ = demo
    base = [
        f"checkpoint={folder}/outputs/image_captioning/demo_c1_seed0",
        f"store={folder}/data/demo/demo_clip",
        f"output_dir={tmp_path}",
        "+decoding.top_p=null",
    ]
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        evaluate(compose("eval_coco", *base, *overrides))
    assert re.search(message, with_hint(caught.value))


@pytest.mark.parametrize("stage", ["ddpm", "image_captioning", "eval_coco", "demo", "contrastive", "prepare_data"])
def test_unknown_keys_and_groups_are_errors(compose, stage):
    with pytest.raises(ValueError, match="no_such_key"):
        compose(stage, "no_such_key=1")
    with pytest.raises(ValueError, match="no_such_method"):
        compose("image_captioning", "alignment=no_such_method")
