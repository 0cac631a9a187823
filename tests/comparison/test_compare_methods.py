"""Comparisons of methods, from the entry function to the table, on a tiny store of words."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from common.hints import with_hint
from comparison.compare_methods import compare
from comparison.trainings import TRAIN
from embedding_space.write_store import write_store


def rows(runs):
    return [run.to_json() for run in runs]


@pytest.mark.usefixtures("without_java")
def test_methods_variants_and_oracles_are_trained_tested_and_reused(config, tmp_path, capsys, monkeypatch):
    config = OmegaConf.merge(
        config,
        {
            "methods": ["c2_collapse", "c3", "bridge_snr", "bridge_early"],
            "oracles": ["oracle_text"],
            "decodings": ["greedy", "beam"],
            "baseline": "c3",
        },
    )
    result = compare(config)
    printed = capsys.readouterr().out
    assert "[1/22] seed 0: training c2_collapse ... " in printed and " left" in printed
    assert "[22/22] seed 1: captioning with oracle_text ... " in printed and "    oracle_text: CIDEr" in printed
    assert [(run.seed, run.method) for run in result.runs[::2]] == [
        (seed, method) for seed in (0, 1) for method in [*config.methods, *config.oracles]
    ]
    outputs = tmp_path / "outputs"
    assert sorted(path.name for path in (outputs / "ddpm").iterdir()) == [
        "tiny_bridge_snr_seed0", "tiny_bridge_snr_seed1", "tiny_seed0", "tiny_seed1",
    ]  # fmt: skip
    assert len(list((outputs / "image_captioning").iterdir())) == 2 * 4  # oracle_text reads with c2_collapse's
    assert len(list((outputs / "evaluation").iterdir())) == 2 * 2 * 5
    trained = OmegaConf.load(outputs / "image_captioning/tiny_c3_seed1/config.yaml")
    assert trained.alignment.noise_std == 0.2 and trained.dataset.name == "tiny" and trained.seed == 1
    bridge = OmegaConf.load(outputs / "image_captioning/tiny_bridge_snr_seed1/config.yaml")
    assert bridge.alignment.diffusion == str(outputs / "ddpm/tiny_bridge_snr_seed1")
    assert OmegaConf.load(outputs / "ddpm/tiny_bridge_snr_seed1/config.yaml").diffusion.loss_weighting == "min-snr"
    assert OmegaConf.load(outputs / "ddpm/tiny_seed1/config.yaml").diffusion.loss_weighting == "constant"

    intervals = {(interval.method, interval.decoding_name): interval for interval in result.intervals}
    assert len(intervals) == 10
    assert {method for (method, _), interval in intervals.items() if interval.comparison} == {
        "c2_collapse",
        "bridge_snr",
        "bridge_early",
    }
    for (method, decoding), interval in intervals.items():
        of_seeds = [run.cider for run in result.runs if (run.method, run.decoding_name) == (method, decoding)]
        mean = sum(of_seeds) / 2
        assert interval.cider.value == pytest.approx(mean) and interval.cider.low <= mean <= interval.cider.high
        if interval.comparison:
            difference = mean - intervals["c3", decoding].cider.value
            assert interval.comparison.difference == pytest.approx(difference, abs=1e-9)
    assert json.loads((tmp_path / "table/results.json").read_text()) == result.to_json()
    assert all("fp32" in run.training_device and run.result.precision in run.result.device for run in result.runs)
    report = (tmp_path / "table/report.html").read_text()
    assert "trained on" in report and result.runs[0].result.device in report
    table = (tmp_path / "table/table.md").read_text()
    assert "CIDEr beam vs c3" in table and "p over seeds" in table and "2 are few" in table

    monkeypatch.setattr("image_captioning.captioner.Captioner.caption", lambda *a, **k: pytest.fail("captioned"))
    monkeypatch.setattr("training.loop.Loop.fit", lambda *a, **k: pytest.fail("trained"))
    again = compare(config)
    assert rows(again.runs) == rows(result.runs) and again.intervals == result.intervals


@pytest.mark.usefixtures("without_java")
def test_few_captions_and_other_data_sets_are_part_of_a_comparison(config, tmp_path, monkeypatch):
    home = Path(config.store)
    away = shutil.copytree(home.parent, tmp_path / "data/away") / home.name
    changes = {"methods": ["c1", "decap_memory"], "seeds": [0], "few_captions": [0.1, 30, 1], "test_on": [str(away)]}
    config = OmegaConf.merge(config, changes)
    result = compare(config)
    assert len(result.runs) == 2 and len(result.cross_domain) == 2 and len(result.few_captions) == 6
    trained = {path.name for path in (tmp_path / "outputs/image_captioning").iterdir()}
    assert trained == {f"tiny{part}_c1_seed0" for part in ("", "_10pct", "_30captions")}  # decap_memory's as well
    few = {(run.share, run.method): run for run in result.few_captions}
    assert [few[share, "c1"].result.provenance["captions"] for share in ("10 %", "30", "100 %")] == [6, 30, 60]
    assert few["100 %", "c1"].result.metrics == result.runs[0].result.metrics
    assert few["30", "c1"].percent == 50
    assert [run.tested_on for run in result.cross_domain] == ["away", "away"]
    assert result.cross_domain[0].result.metrics == result.runs[0].result.metrics  # the same pictures
    assert (tmp_path / "outputs/evaluation/tiny_c1_seed0_test_greedy_on_away/scores.json").is_file()
    table = " ".join((tmp_path / "table/table.md").read_text().split())
    assert "| method | 10 % | 30 | 100 % |" in table and "| method | tiny | away |" in table
    assert {"few_captions.png", "few_captions.svg", "report.html", "table.tex"} <= {
        path.name for path in (tmp_path / "table").iterdir()
    }
    monkeypatch.setattr("image_captioning.captioner.Captioner.caption", lambda *a, **k: pytest.fail("captioned"))
    monkeypatch.setattr("training.loop.Loop.fit", lambda *a, **k: pytest.fail("trained"))
    assert rows(compare(config).few_captions) == rows(result.few_captions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"few_captions": [0.1, 2.5]}, r"few_captions=\[0\.1, 2\.5\] must be shares up to 1 or .* up to 60, not 2\.5"),
        ({"few_captions": [61]}, "not 61"),
        ({"few_captions": [0]}, "not 0"),
        ({"few_captions": [0.1, 0.1]}, "names a part of the .* twice"),
        ({"few_pairs": [2.5]}, r"few_pairs=\[2\.5\] must be shares up to 1 or .* of pairs up to 16, not 2\.5"),
        ({"few_pairs": [1], "fine_tuning": ["loop.stepz=4"]}, "stepz"),
        ({"test_on": ["nowhere"]}, "nowhere"),
        ({"test_on": ["data/nowhere/words"]}, "No embeddings in data/nowhere/words"),
        ({"test_on": ["data/a/words", "x/a/words"]}, r"test_on=\['data/a/words', 'x/a/words'\] .* 'a'"),
        ({"test_image_mean_from": "there"}, "test_image_mean_from='there' must be one of checkpoint, store"),
        ({"methods": ["c3", "c4"]}, r"Unknown method 'c4' .*known: bridge_early, bridge_snr, c1, "),
        ({"methods": ["c3", "c3"]}, "names one of them twice"),
        ({"methods": ["oracle_pairs"]}, "Unknown method 'oracle_pairs'"),
        ({"oracles": ["oracle"]}, "oracle_pairs, oracle_text"),
        ({"decodings": ["greedy", "loud"]}, "decoding=loud"),
        ({"decodings": []}, "at least one"),
        ({"metrics": ["CIDEr", "CIDER"]}, "Unknown metrics"),
        ({"metrics": ["BLEU"]}, "must include CIDEr"),
        ({"baseline": "c1", "methods": ["c3"]}, "baseline='c1' must be null or one of"),
        ({"seeds": [0, 0]}, "each once"),
        ({"split": "testing"}, "testing"),
        ({"store": "data/nowhere/words"}, r"dataset=tables dataset.name=nowhere encoder=CONFIG encoder.name=words"),
        ({"variants": {"c3": {"noise": 1}}}, r"variants.c3 has unknown keys \['noise'\]"),
        ({"variants": {"c3": {"ddpm": ["loop.steps=1"]}}}, "no DiffusionBridge"),
        ({"variants": {"c3": {"captioner": ["alignment.noise=1"]}}}, "alignment.noise"),
        ({"variants": {"a/b": {"alignment": "c3"}}}, "variants.a/b"),
        ({"variants": {"c3": {"alignment": "c9"}}}, r"alignment=c9"),
        ({"captioner": ["seed=3"]}, "seed is for this command to set"),
        ({"captioner": ["dataset.root=x"]}, "dataset.root is for this command to set"),
        ({"captioner": ["alignment.diffusion=x"]}, "alignment.diffusion is for this command to set"),
        ({"few_pairs": [1], "fine_tuning": ["train_captions=9"]}, "train_captions is for this command to set"),
        (
            {"stage_experiment": "leaderbord"},
            r"Unknown experiment 'leaderbord' \(option stage_experiment\).*leaderboard\?",
        ),
        ({"stage_experiment": "photo_clip"}, "photo_clip has settings for contrastive alone, and here .* leave it out"),
        ({"ddpm": ["loop.stepss=3"]}, "loop.stepss"),
    ],
)
def test_bad_input_fails_before_anything_trains(config, change, message, monkeypatch):
    for stage in TRAIN:
        monkeypatch.setitem(TRAIN, stage, lambda *a: pytest.fail("trained"))
    config.methods = ["c3", "diffusion_bridge"]
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        compare(OmegaConf.merge(config, change))
    assert re.search(message, with_hint(caught.value))


def test_an_experiment_is_passed_on_to_the_stages_that_have_settings_for_it(compose):
    coco = compose("compare_methods", "dataset=coco", "experiment=diffusion_bridge_coco")
    assert coco.stage_experiment == "diffusion_bridge_coco" and compose("compare_methods").stage_experiment is None
    photos = compose("compare_methods", "experiment=flickr8k_photos", "dataset.pairs_split=pairs")
    with pytest.raises(
        ValueError, match=r"sets dataset.pairs_split='train' for image_captioning, but here it is 'pairs'"
    ):
        compare(photos)
    with pytest.raises(ValueError, match="Unknown experiment 'typo'; known for compare_methods: "):
        compose("compare_methods", "experiment=typo")


def without_captions(store: str, encoder: type, of: tuple[str, ...]) -> None:
    """Takes the captions whose ids begin so from the tables, of which the store now knows less."""
    path = Path(store).parent / "captions.parquet"
    captions = pq.read_table(path)
    pq.write_table(captions.filter([not name.startswith(of) for name in captions["caption_id"].to_pylist()]), path)
    shutil.rmtree(store)
    write_store(path.parent, encoder(16), name="words", text_split="train", image_mean_split="pretrain")


@pytest.mark.usefixtures("without_java")
def test_photos_without_captions_are_named_before_anything_trains(config, word_encoder, tmp_path, capsys, monkeypatch):
    without_captions(config.store, word_encoder, ("test_0_", "test_3_"))
    config = OmegaConf.merge(config, {"methods": ["c1", "c3"], "seeds": [0]})
    with monkeypatch.context() as patched:
        patched.setitem(TRAIN, "image_captioning", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            compare(config)
    assert "2 images (test_0, test_3) of tiny's split test" in capsys.readouterr().out
    results = [run.result for run in compare(config).runs]
    assert all(each.images == 6 and each.left_out.image_ids == ["test_0", "test_3"] for each in results)
    assert "2 images (test_0, test_3)" in (tmp_path / "table/table.md").read_text()


def test_a_split_without_captions_is_refused_before_anything_trains(config, word_encoder, monkeypatch):
    for stage in TRAIN:
        monkeypatch.setitem(TRAIN, stage, lambda *a: pytest.fail("trained"))
    without_captions(config.store, word_encoder, ("test_",))
    config.methods = ["c3"]
    with pytest.raises(ValueError, match=r"None of the 8 images of the split 'test' of .* has captions.*split="):
        compare(config)
