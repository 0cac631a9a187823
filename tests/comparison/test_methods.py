"""Which methods a comparison has, what each trains, and with which settings of an experiment."""

from __future__ import annotations

import pytest

from common.config import compose_config
from comparison.compare_methods import runs_of
from comparison.methods import find_methods
from evaluation.reports.comparison_tables import ORACLES

BRIDGE = [{"step": "Normalize"}, {"step": "DiffusionBridge"}]
SNR = {"alignment": "diffusion_bridge", "ddpm": ["diffusion.loss_weighting=snr"]}


def test_variants_with_equal_diffusion_overrides_share_a_model():
    variants = {"early": SNR, "late": SNR, "other": {**SNR, "ddpm": ["loop.steps=9"]}}
    methods = find_methods(["diffusion_bridge", "late", "other"], [], variants)
    assert [method.diffusion for method in methods] == ["", "early", "other"]


def test_a_method_trains_what_its_steps_are_made_from():
    c3, bridge = find_methods(["c3", "diffusion_bridge"], [])
    assert c3.stages([{"step": "Normalize"}]) == ["image_captioning"]
    assert bridge.stages(BRIDGE) == ["ddpm", "image_captioning"]
    (variant,) = find_methods(["v"], [], {"v": SNR})
    with pytest.raises(ValueError, match=r"variants\.v has ddpm overrides, but its alignment has no DiffusionBridge"):
        variant.stages([{"step": "Normalize"}])


def test_oracles_have_the_settings_of_the_collapse_decoder():
    variants = {"c2_collapse": {"captioner": ["loop.steps=7"]}}
    collapse, pairs, text = find_methods(["c2_collapse"], ORACLES, variants)
    assert pairs.overrides["image_captioning"] == collapse.overrides["image_captioning"] == ("loop.steps=7",)
    assert (pairs.train_on, pairs.caption_from, pairs.trained) == ("pairs", "images", "oracle_pairs")
    assert (text.train_on, text.caption_from, text.trained) == ("text", "texts", "c2_collapse")


@pytest.mark.parametrize(
    ("names", "oracles", "variants", "message"),
    [
        ([], [], {}, r"methods=\[\] must not be empty"),
        (["c3"], ["oracle_text"], {}, "add c2_collapse to methods"),
        (["c3"], ["oracle_pairs"] * 2, {}, "oracles=.* names one of them twice"),
    ],
)
def test_impossible_comparisons_are_refused(names, oracles, variants, message):
    with pytest.raises(ValueError, match=message):
        find_methods(names, oracles, variants)


@pytest.mark.parametrize("experiment", ["flickr8k_photos", "flickr8k_photos_extra", "flickr8k_photos_finetuned"])
def test_the_bridges_of_the_photo_experiments_have_the_photos_timesteps(experiment):
    runs = runs_of(compose_config("compare_methods", f"experiment={experiment}"))
    steps = {method.name: runs._steps(method, 0) for method in runs.methods}
    bridges = {name: next((s for s in chain if s["step"] == "DiffusionBridge"), None) for name, chain in steps.items()}
    timesteps = {
        name: (bridge["text_timestep"], bridge["image_timestep"], bridge["image_steps"])
        for name, bridge in bridges.items()
        if bridge
    }
    expected = {
        "diffusion_bridge": (250, 400, 1),
        "memory_bridge": (250, 100, 1),
        "diffusion_bridge_reference": (400, 600, 5),
    }
    assert timesteps == {name: expected[name] for name in timesteps} and "diffusion_bridge" in timesteps
    folders = [stage.folder for method in runs.methods for stage in runs.trainings(method, 0)]
    assert f"outputs/image_captioning/{experiment}_diffusion_bridge_seed0" in folders
    assert f"outputs/ddpm/{experiment}_seed0" in folders
    # The decoder of diffusion_bridge serves memory_bridge, too.
    assert f"outputs/image_captioning/{experiment}_memory_bridge_seed0" not in folders


def test_an_experiments_settings_are_of_the_alignment_that_is_chosen():
    def alignment(stage, *overrides):
        return compose_config(stage, *overrides).alignment

    experiment = "experiment=flickr8k_photos"
    assert alignment("image_captioning", experiment).image_timestep == 400
    assert alignment("image_captioning", experiment, "alignment.image_timestep=9").image_timestep == 9
    assert alignment("image_captioning", experiment, "alignment=c3") == alignment("image_captioning", "alignment=c3")
    assert alignment("eval_coco", experiment, "alignment=memory_bridge").text_timestep == 250
    assert "alignment" not in compose_config("eval_coco", experiment)


def test_the_papers_methods_are_variants_with_their_alignments_and_parts():
    names = ["capdec", "decap", "viecap", "meacap", "ifcap"]
    runs = runs_of(compose_config("compare_methods", f"methods=[{','.join(names)}]"))
    configs = {method.name: runs._captioner_config(method, 0) for method in runs.methods}
    assert [config.alignment.name for config in configs.values()] == ["c2_corrupt", "decap_memory"] + 3 * ["c2_corrupt"]
    assert [config.decoder.mapper.kind for config in configs.values()] == [
        "transformer", "linear", "transformer", "transformer", "fusion",
    ]  # fmt: skip
    sources = {name: config.parts.source.kind for name, config in configs.items() if config.parts}
    assert sources == {"viecap": "similar", "meacap": "merged", "ifcap": "frequent"}
    assert configs["decap"].label_smoothing == 0.1 and configs["ifcap"].parts.retrieval.neighbors == 5
