"""PCM-Nets in a comparison: their ablation beside text-only methods."""

from __future__ import annotations

import pytest

from comparison.compare_methods import compare, runs_of
from comparison.methods import find_methods
from embedding_space.errors import MissingPatches


def test_a_variant_with_the_key_is_trained_as_a_pcm_net():
    variants = {
        "base": {"alignment": "c1", "pcm_net": ["mixup.pairs=0"]},
        "bridged": {"alignment": "memory_bridge", "pcm_net": []},
    }
    base, whole, bridged, text = find_methods(["base", "pcm_net", "bridged", "c3"], [], variants)
    assert [method.captioner for method in (base, whole, bridged, text)] == ["pcm_net"] * 3 + ["image_captioning"]
    assert base.overrides["pcm_net"] == ("mixup.pairs=0",) and whole.alignment == "c2_corrupt"
    assert whole.stages([{"step": "Normalize"}]) == ["pcm_net"]
    assert bridged.stages([{"step": "DiffusionBridge"}]) == ["ddpm", "pcm_net"]


def test_options_of_another_captioner_are_refused():
    with pytest.raises(ValueError, match=r"variants\.x has overrides of captioner, but it is a PCM-Net"):
        find_methods(["x"], [], {"x": {"alignment": "c1", "pcm_net": [], "captioner": ["seed=1"]}})


def test_a_store_without_patches_is_refused_before_anything_trains(make_store, compose, tmp_path):
    store = make_store()
    config = compose(
        "compare_methods", "methods=[pcm_net,c1]", "seeds=[0]", f"store={store.path}", f"runs_dir={tmp_path / 'runs'}",
        f"output_dir={tmp_path / 'compared'}",
    )  # fmt: skip
    with pytest.raises(MissingPatches):
        compare(config)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("dataset", ["demo_synthetic", "demo_synthetic_faithful", "demo_synthetic_unfaithful"])
@pytest.mark.parametrize("experiment", ["demo_pcm_net_options", "demo_pcm_net_captions"])
def test_the_figures_experiments_share_their_runs_with_the_ablation(compose, experiment, dataset):
    config = compose("compare_methods", f"experiment={experiment}", f"dataset={dataset}")
    ablation = compose("compare_methods", "experiment=demo_pcm_net", f"dataset={dataset}")
    runs, others = runs_of(config), runs_of(ablation)
    shared = {method.name: method for method in others.methods}
    assert config.name == dataset and config.output_dir != ablation.output_dir
    assert {method.captioner for method in runs.methods} == {"pcm_net"} and config.baseline == "pcm_base"
    for method in runs.methods:
        assert runs.trained_as(method, 0) == method
        if method.name in shared:
            [stage], [other] = runs.trainings(method, 0), others.trainings(shared[method.name], 0)
            assert stage.folder == other.folder and stage.config == other.config


def test_each_variant_of_the_options_changes_one_of_them(compose):
    runs = runs_of(compose("compare_methods", "experiment=demo_pcm_net_options"))
    trained = {method.name: runs.trainings(method, 0)[0].config for method in runs.methods}
    values = {name: (c.mixup.concepts, c.mixup.pairs, c.clip_weight_scale) for name, c in trained.items()}
    usual = values["pcm_net"]
    assert usual == (5, 5, 1.0) and values["pcm_base"] == (5, 0, None)
    changed = [[m for m, v in zip(usual, one, strict=True) if m != v] for n, one in values.items() if n != "pcm_base"]
    assert sorted(map(len, changed)) == [0] + [1] * 8
    assert [sorted({str(one[n]) for one in values.values()}) for n in range(3)] == [
        ["10", "2", "5"],
        ["0", "12", "2", "5"],
        ["0.5", "1.0", "2.0", "None"],
    ]
