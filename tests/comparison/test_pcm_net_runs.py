"""PCM-Nets in a comparison: their ablation beside text-only methods."""

from __future__ import annotations

import pytest

from comparison.compare_methods import compare
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
