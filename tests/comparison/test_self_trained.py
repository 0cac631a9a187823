"""Methods that go on from another one's captioner, with captions which that one writes of unpaired images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from comparison.compare_methods import compare
from comparison.methods import find_methods
from comparison.trainings import TRAIN

SELF = {"loop.steps=6", "loop.learning_rate=1e-3"}
VARIANTS = {
    "taught": {"teacher": "c3", "captioner": [*sorted(SELF)]},
    "taught_twice": {"teacher": "taught", "captioner": ["decoding@teacher=greedy"]},
    "bridge_taught": {"teacher": "diffusion_bridge", "captioner": [*sorted(SELF)]},
    "worded": {"alignment": "c2_corrupt", "captioner": ["parts=viecap"]},
}
pytestmark = pytest.mark.usefixtures("without_java")


@pytest.fixture
def config(config):
    changes = {"variants": {**config.variants, **VARIANTS}, "seeds": [0], "pictures": 0, "pcm_net": []}
    return OmegaConf.merge(config, changes)


def of_run(result, method: str):
    return next(run for run in result.runs if run.method == method)


def test_a_student_goes_on_from_its_teacher(config, tmp_path):
    config.methods = ["taught", "c3", "bridge_taught"]
    result = compare(config)
    folders = {path.name for path in (tmp_path / "outputs/image_captioning").iterdir()}
    assert folders == {f"tiny_{name}_seed0" for name in ("c3", "taught", "diffusion_bridge", "bridge_taught")}
    trained = OmegaConf.load(tmp_path / "outputs/image_captioning/tiny_taught_seed0/config.yaml")
    assert (trained.train_on, trained.init_from) == ("images", f"{config.runs_dir}/image_captioning/tiny_c3_seed0")
    assert trained.alignment.noise_std == 0.2  # that of the variant c3
    assert trained.teacher.consensus_weight > 0 and trained.loop.steps == 6
    teacher, student = of_run(result, "c3"), of_run(result, "taught")
    folders = (tmp_path / f"outputs/image_captioning/tiny_{name}_seed0/finished.json" for name in ("c3", "taught"))
    trained = sum(json.loads(path.read_text())["seconds"] for path in folders)
    assert student.total_seconds == pytest.approx(trained + student.result.seconds.captioning)
    assert student.trained_parameters == teacher.trained_parameters
    assert student.method_class == "text + text memory + unpaired images"
    bridge = of_run(result, "bridge_taught")
    ddpm = json.loads((tmp_path / "outputs/ddpm/tiny_seed0/finished.json").read_text())["trained_parameters"]
    assert bridge.trained_parameters == teacher.trained_parameters + ddpm
    assert any(note.startswith("taught goes on from a trained captioner") for note in result.notes)


def test_students_may_teach_and_may_be_evaluated_after_pairs_and_fewer_captions(config, tmp_path):
    config.methods, config.few_pairs, config.few_captions = ["taught_twice"], [0.5], [0.5]
    config.few_pairs_captioner, config.fine_tuning = [], ["loop.steps=2"]
    result = compare(config)
    second = OmegaConf.load(tmp_path / "outputs/image_captioning/tiny_taught_twice_seed0/config.yaml")
    assert second.init_from.endswith("tiny_taught_seed0") and "consensus_weight" not in second.teacher
    paired = next(
        Path(str(run.result.checkpoint))
        for run in result.few_pairs
        if run.pairs_share != "none" and run.method == "taught_twice"
    )
    config_of_pairs = OmegaConf.load(paired / "config.yaml")
    assert config_of_pairs.train_on == "pairs" and config_of_pairs.init_from.endswith("tiny_taught_twice_seed0")
    assert config_of_pairs.alignment.noise_std == 0.2
    fewer = next(run for run in result.few_captions if run.share)
    assert OmegaConf.load(Path(str(fewer.result.checkpoint)) / "config.yaml").corpus_captions is not None


def test_a_student_has_the_settings_that_its_teachers_tries_chose(config, tmp_path):
    tries = {"tries": {"c3": [["alignment.noise_std=2.0"], ["alignment.noise_std=0.05"]]}, "methods": ["c3", "taught"]}
    result = compare(OmegaConf.merge(config, tries))
    best = next(entry for entry in result.tries if entry.used).overrides[0]
    for run in result.runs:
        trained = OmegaConf.load(Path(str(run.result.checkpoint)) / "config.yaml")
        assert f"alignment.noise_std={trained.alignment.noise_std}" == best
        assert run.method_class.endswith("selected on pairs")
    assert not (tmp_path / "outputs/image_captioning/tiny_c3_seed0").exists()  # the try is that training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"variants": {"a": {"teacher": "c3", "alignment": "c1"}}},
            "variants.a has a teacher, whose alignment it takes",
        ),
        (
            {"variants": {"a": {"teacher": "c3", "captioner": ["init_from=x"]}}},
            "variants.a has init_from=x, but it goes",
        ),
        ({"variants": {"a": {"teacher": "worded"}}}, "captioner of teacher=worded, but that has parts=viecap"),
        ({"variants": {"a": {"teacher": "pcm_net"}}}, "captioner of teacher=pcm_net, but that is a PCM-Net"),
        ({"variants": {"a": {"teacher": "c9"}}}, r"Unknown method 'a' \(alignment=c9\)"),
        ({"variants": {"a": {"teacher": "b"}, "b": {"teacher": "a"}}}, "variants.a and its teachers"),
        (
            {
                "variants": {"a": {"teacher": "c3"}},
                "methods": ["a", "c3"],
                "tries": {"a": [["loop.steps=3"]], "c3": [[]]},
            },
            "tries.a goes on from c3, which has tries, too",
        ),
        (
            {"variants": {"a": {"teacher": "c3"}}, "tries": {"c3": [[]]}},
            "tries.c3 is of the teacher of a: add c3 to methods, too",
        ),
    ],
)
def test_bad_teachers_are_refused_before_anything_trains(config, change, message, monkeypatch):
    for stage in TRAIN:
        monkeypatch.setitem(TRAIN, stage, lambda *a: pytest.fail("trained"))
    config.methods = ["a"]
    with pytest.raises(ValueError, match=message):
        compare(OmegaConf.merge(config, change))


def test_our_own_student_is_ready(compose):
    config = compose("compare_methods", "methods=[memory_bridge_self_trained]")
    (method,) = find_methods(config.methods, [], OmegaConf.to_container(config.variants))
    assert method.teacher is not None and method.teacher.name == "memory_bridge" and method.train_on == "images"
