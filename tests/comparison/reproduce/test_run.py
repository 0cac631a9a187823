"""Running a table again: what is skipped, refused and written, with stages that write what real ones leave."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from common.files import write_json
from common.plain import plain
from comparison.reproduce import needs, run, stages
from comparison.reproduce.result import Reproduction
from evaluation.captions.result import EvaluationResult
from synthetic_images.provenance import Provenance
from training.run_folder import finish_run, open_run

TABLE = "table=capdec_coco"


@pytest.fixture
def calls(tmp_path, monkeypatch, make_store):
    """The stages that were run, in order; each leaves what `PlannedStage.is_done` looks for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(tmp_path / "data"))
    called: list[str] = []
    made = make_store()

    def prepare(config):
        called.append("prepare_data")
        folder = Path(config.dataset.root) / config.encoder.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        for path in made.path.parent.glob("*.parquet"):
            (folder.parent / path.name).write_bytes(path.read_bytes())
        folder.mkdir()
        for path in made.path.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["encoder"] |= {"model": config.encoder.model, "pretrained": config.encoder.pretrained}
        manifest |= {name: config.dataset[name] for name in ("text_split", "image_mean_split")}
        write_json(folder / "manifest.json", manifest)

    def train(config):
        called.append(f"image_captioning {config.seed}")
        open_run(config.output_dir, config, False)
        finish_run(config.output_dir, {"seconds": 1})

    def evaluate(config):
        called.append(f"eval_coco {config.seed}")
        metrics = {"CIDEr": 90.0 + 2 * config.seed, "BLEU-4": 25.0, "METEOR": 25.0}
        write_json(Path(config.output_dir) / "scores.json", EvaluationResult(metrics=metrics, images=5).to_json())
        OmegaConf.save(config, Path(config.output_dir) / "config.yaml", resolve=True)

    for name, stage in (("prepare_data", prepare), ("image_captioning", train), ("eval_coco", evaluate)):
        monkeypatch.setitem(stages.RUN, name, stage)
    monkeypatch.setattr(needs, "_named_weights", lambda stage: ())
    return called


def test_stages_run_once_and_end_with_the_table(compose, calls, capsys):
    options = [TABLE, "check_machine=false", "seeds=[0,1]"]
    result = run.reproduce(compose("reproduce", *options))
    assert result is not None
    assert calls == ["prepare_data", "image_captioning 0", "image_captioning 1", "eval_coco 0", "eval_coco 1"]
    [row] = result.rows
    assert row.ours["CIDEr"] == [90.0, 92.0] and row.reported["CIDEr"] == 91.8
    assert row.difference == {
        "CIDEr": pytest.approx(-0.8),
        "BLEU-4": pytest.approx(-1.4),
        "METEOR": pytest.approx(-0.1),
    }
    assert [stage.skipped for stage in result.stages] == [False] * 5 and not result.overrides
    written = json.loads(Path("outputs/reproduce/capdec_coco/result.json").read_text())
    assert Reproduction.from_json(written) == result
    printed = capsys.readouterr().out
    for words in ("Known to differ:", "91.0 ± 1.4", "-0.8", "as quoted by table 1 of PCM-Net", "[5/5] eval_coco"):
        assert words in printed
    assert "–" in printed  # ROUGE-L was not measured

    again = run.reproduce(compose("reproduce", *options))
    assert again is not None and len(calls) == 5 and again.rows == result.rows
    assert all(stage.skipped for stage in again.stages)
    assert capsys.readouterr().out.count(": done already, ") == 5


def test_a_stage_that_fails_leaves_the_others_done(compose, calls, monkeypatch):
    def fail(config):
        raise FileNotFoundError("no more disk")

    evaluate = stages.RUN["eval_coco"]
    monkeypatch.setitem(stages.RUN, "eval_coco", fail)
    with pytest.raises(FileNotFoundError, match="no more disk"):
        run.reproduce(compose("reproduce", TABLE, "check_machine=false"))
    monkeypatch.setitem(stages.RUN, "eval_coco", evaluate)
    assert calls == ["prepare_data", "image_captioning 0"]
    run.reproduce(compose("reproduce", TABLE, "check_machine=false"))
    assert calls == ["prepare_data", "image_captioning 0", "eval_coco 0"]


def test_a_dry_run_shows_the_plan_and_makes_nothing(compose, calls, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert run.reproduce(compose("reproduce", TABLE, "dry_run=true")) is None
    assert not calls and sorted(tmp_path.rglob("*")) == before
    printed = capsys.readouterr().out
    for words in ("to do", "0.5 to 6", "Hours in all: 2.1 to 12.5", "a GPU of 12 GB", "GB free in", "MIT", "CC BY 4.0",
                  "python -m image_captioning.train experiment=prefix_parts_coco encoder=clip_rn50x4"):  # fmt: skip
        assert words in printed


def test_what_is_missing_is_refused_before_anything_runs(compose, calls, monkeypatch):
    with pytest.raises(ValueError, match=r"needs is missing: a GPU of 12 GB \(there is: none\): run on a machine"):
        run.reproduce(compose("reproduce", TABLE))
    monkeypatch.setattr(needs.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5e9}))
    monkeypatch.setattr(needs, "_gpu", lambda table: needs.Need("a GPU", "one", True))
    with pytest.raises(ValueError, match=r"39 GB of disk.*\(there is: 5 GB free in .*make room"):
        run.reproduce(compose("reproduce", TABLE))
    monkeypatch.setattr(needs, "_named_weights", lambda stage: [("decoder.pretrained=gpt2", "gpt2", None)])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(needs.huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(ValueError, match=r"decoder\.pretrained=gpt2 \(there is: neither on disk nor, offline"):
        run.reproduce(compose("reproduce", TABLE, "check_machine=false"))
    assert not calls


def test_several_processes_are_sent_to_the_stages(compose, calls, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ValueError, match=r"reproduce\.py is one process: .* behind torchrun"):
        run.reproduce(compose("reproduce", TABLE))


def test_disk_counts_what_is_there_already(compose, calls, tmp_path, monkeypatch):
    source = tmp_path / "data" / "coco"
    source.mkdir(parents=True)
    with (source / "train2014.zip.partial").open("wb") as file:
        file.truncate(30_000_000_000)
    table = run.read_table("capdec_coco")
    [need] = needs._disk(stages.plan_stages(table, [0], {}))
    assert need.what == "39 GB of disk, 9 GB more than is there already"
    for name, known in (("clip_vit_l14", "manifest.json"), ("clip_b16.partial", "identity.json")):  # of others
        (source / name).mkdir()
        (source / name / known).touch()
        with (source / name / "images.npy").open("wb") as file:
            file.truncate(20_000_000_000)
    assert list(needs._disk(stages.plan_stages(table, [0], {}))) == [need]
    own = stages.plan_stages(table, [0], {})[0].folder.name
    for name in (own, f"{own}.partial"):
        (source / name / "shards").mkdir(parents=True)
        (source / name / "identity.json").touch()
        with (source / name / "shards" / "images_0.npy").open("wb") as file:
            file.truncate(2_000_000_000)
    [need] = needs._disk(stages.plan_stages(table, [0], {}))
    assert need.what == "39 GB of disk, 5 GB more than is there already"


def test_each_file_system_needs_what_goes_there(compose, calls, tmp_path, monkeypatch):
    """The photos on one, all else on another, on which there is much of another run."""
    photos = tmp_path / "photos"
    planned = stages.plan_stages(run.read_table("capdec_coco"), [0], {"prepare_data": [f"dataset.source={photos}"]})
    status = Path.stat

    def stat(path, **options):
        result = status(path, **options)
        return os.stat_result([*result[:2], 77, *result[3:10]]) if path.is_relative_to(photos) else result

    for path, size in ((photos / "train2014.zip", 6), (planned[0].folder / "a.npy", 30)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size * 1_000_000_000)
    monkeypatch.setattr(Path, "stat", stat)
    free = {need.there.partition(" in ")[2]: need.what for need in needs._disk(planned)}
    assert free == {
        str(photos): "36 GB of disk, 30 GB more than is there already",
        str(planned[0].folder): "3 GB of disk, 0 GB more than is there already",
    }


def test_a_seed_without_a_metric_is_named_and_gives_no_mean(compose, calls, monkeypatch, capsys):
    evaluate = stages.RUN["eval_coco"]

    def lose(config):
        evaluate(config)
        path = Path(config.output_dir) / "scores.json"
        content = json.loads(path.read_text())
        lost = {"METEOR"} if config.seed == 1 else set()
        metrics = {name: None if name in {*lost, "BLEU-4"} else value for name, value in content["metrics"].items()}
        write_json(path, content | {"metrics": metrics})

    monkeypatch.setitem(stages.RUN, "eval_coco", lose)
    result = run.reproduce(compose("reproduce", TABLE, "check_machine=false", "seeds=[0,1,2]"))
    assert result is not None
    [row] = result.rows
    assert row.ours == {"CIDEr": [90.0, 92.0, 94.0], "METEOR": [25.0, None, 25.0]}
    assert set(row.difference) == {"CIDEr"}
    assert Reproduction.from_json(result.to_json()) == result
    printed = capsys.readouterr().out
    assert printed.count("No mean of METEOR of CapDec: it was measured for 2 of 3 seeds, and not for 1.") == 1
    assert "No mean of BLEU-4" not in printed and "92.0 ± 2.0" in printed


def test_other_settings_are_marked_and_a_folder_of_another_run_is_refused(compose, calls, capsys):
    run.reproduce(compose("reproduce", TABLE, "check_machine=false"))
    changed = compose("reproduce", TABLE, "check_machine=false")
    changed.image_captioning = ["epochs=1"]
    with pytest.raises(ValueError, match=r"another configuration than image_captioning .*epochs was 10 there and is 1"):
        run.reproduce(changed)
    changed.image_captioning = ["epochs=1", "name=short"]
    result = run.reproduce(changed)
    assert result is not None and result.overrides == {"image_captioning": ["epochs=1", "name=short"]}
    assert (
        "NOT THE TABLE'S SETTINGS, and so not comparable with it: image_captioning: epochs=1" in capsys.readouterr().out
    )
    config = compose("reproduce", TABLE, "check_machine=false")
    config.prepare_data = ["encoder.model=RN50x4"]
    with pytest.raises(ValueError, match=r"encoder\.model was 'RN50x4-quickgelu' there and is 'RN50x4' now"):
        run.reproduce(config)
    config.prepare_data = ["dataset.text_split=val"]
    with pytest.raises(ValueError, match=r"dataset\.text_split was 'train' there and is 'val' now"):
        run.reproduce(config)


def test_pictures_of_other_options_are_not_those_that_are_asked_for(compose, tmp_path):
    options = stages.StageOptions("synthesize_images", [])
    config = compose("synthesize_images", f"dataset.root={tmp_path}/demo", "max_captions=100")
    planned = stages.PlannedStage(options, (), config)
    assert not planned.is_done()
    painter = {"kind": config.painter.kind, "unfaithfulness": 0.5, "package": "1.0"}
    Provenance("synthetic", painter, {}, 0, 100).write(tmp_path / "demo_synthetic")
    assert planned.is_done()
    for option, message in (
        ("max_captions=50", "max_captions was 100 there and is 50 now"),
        ("painter.unfaithfulness=1", r"painter\.unfaithfulness was 0\.5 there and is 1(\.0)? now"),
    ):
        other = compose("synthesize_images", f"dataset.root={tmp_path}/demo", "max_captions=100", option)
        with pytest.raises(ValueError, match=message):
            stages.PlannedStage(options, (), other).is_done()


def test_pictures_by_retrieval_from_the_usual_split_are_those_that_are_asked_for(compose, tmp_path):
    config = compose("synthesize_images", f"dataset.root={tmp_path}/demo", "painter=retrieval", "name=found")
    planned = stages.PlannedStage(stages.StageOptions("synthesize_images", []), (), config)
    painter = {**plain(config.painter), "images_split": "pretrain", "store": "abc"}
    Provenance("unpaired real photos", painter, {}, 0, None).write(tmp_path / "found")
    assert planned.is_done()


def test_metrics_that_failed_are_tried_again(compose, calls):
    run.reproduce(compose("reproduce", TABLE, "check_machine=false"))
    [scores] = Path("outputs/evaluation").glob("*/scores.json")
    content = json.loads(scores.read_text())
    write_json(scores, content | {"unavailable": {"ROUGE-L": "no Java"}})
    run.reproduce(compose("reproduce", TABLE, "check_machine=false"))
    assert calls[-2:] == ["eval_coco 0", "eval_coco 0"]
    assert plain(OmegaConf.load(scores.with_name("config.yaml")))["seed"] == 0


def test_a_row_that_no_stage_measured_is_named(compose, calls):
    table = run.read_table("capdec_coco")
    planned = stages.plan_stages(table, [0], {})
    with pytest.raises(ValueError, match="table=capdec_coco reports capdec, and its stages measured"):
        stages.gather(table, planned[:2], [0])
