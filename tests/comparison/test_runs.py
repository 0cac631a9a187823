"""The runs of several methods: what they read, share and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from comparison.compare_methods import compare
from comparison.methods import find_methods
from comparison.runs import MethodRuns
from evaluation.captions.scoring_options import Scoring

FROM_PAIRS = {"alignment": "c3_auto", "captioner": ["alignment.estimate.data=pairs", "alignment.estimate.split=chosen"]}
COVARIANCE_OF_PAIRS = {
    "alignment": "gaussian_full",
    "captioner": ["alignment.covariance=pairs", "alignment.covariance_split=chosen"],
}


@pytest.mark.parametrize(
    ("methods", "overrides", "splits"),
    [
        (["c1", "diffusion_bridge"], {}, ["corpus", "test", "val"]),
        (["c1"], {"image_captioning": ["validation_split=null"]}, ["corpus", "test"]),
        (["diffusion_bridge"], {"ddpm": ["validation_split=other"]}, ["corpus", "other", "test", "val"]),
        (["c3_auto"], {}, ["corpus", "test", "val"]),
        (["from_pairs"], {}, ["chosen", "corpus", "test", "val"]),
        (["covariance_of_pairs"], {}, ["chosen", "corpus", "test", "val"]),
        (["gaussian_full"], {}, ["corpus", "test", "val"]),
    ],
)
@pytest.mark.parametrize("oracles", [[], ["oracle_pairs"]])
def test_the_texts_of_pairs_are_not_read_and_those_of_validations_are(tmp_path, methods, overrides, splits, oracles):
    runs = MethodRuns(
        name="tiny",
        runs_dir=str(tmp_path),
        store=Path("data/tiny/words"),
        methods=find_methods(methods, oracles, {"from_pairs": FROM_PAIRS, "covariance_of_pairs": COVARIANCE_OF_PAIRS}),
        decodings={},
        split="test",
        scoring=Scoring(("CIDEr",), str(tmp_path)),
        overrides=overrides,
    )
    assert runs.text_splits("corpus", 0) == splits


def test_a_folder_that_holds_another_run_is_refused_before_anything_trains(config, compose, tmp_path):
    folder = tmp_path / "outputs/image_captioning/tiny_c3_seed1"
    folder.mkdir(parents=True)
    config.methods = ["c3"]
    other = compose("image_captioning", "alignment=c3", "seed=1", *config.captioner)
    OmegaConf.save(other, folder / "config.yaml")
    (folder / "finished.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"tiny_c3_seed1 holds a run of another configuration \(alignment.noise_std was"
    ):
        compare(config)
    assert not (tmp_path / "outputs/image_captioning/tiny_c3_seed0").exists()


@pytest.mark.usefixtures("without_java")
def test_methods_that_do_the_same_to_texts_share_a_training_and_caption_as_if_trained_alone(config, tmp_path):
    config = OmegaConf.merge(config, {"seeds": [0], "baseline": None})
    methods = ["c3", "diffusion_bridge", "bridge_early", "memory_bridge"]
    shared = compare(OmegaConf.merge(config, {"methods": methods}))
    trained = {path.name for path in (tmp_path / "outputs/image_captioning").iterdir()}
    assert trained == {"tiny_c3_seed0", "tiny_diffusion_bridge_seed0"}
    assert [run.trained_as for run in shared.runs] == ["c3", *["diffusion_bridge"] * 3]
    assert "memory_bridge captions with the decoder of diffusion_bridge" in shared.notes[-1]
    for method in ("memory_bridge", "bridge_early"):  # another alignment, and other options of the same one
        alone = compare(OmegaConf.merge(config, {"methods": [method], "runs_dir": str(tmp_path / "alone")}))
        run_alone, run = alone.runs[0], next(run for run in shared.runs if run.method == method)
        captions = [(Path(str(each.evaluation)) / "predictions.json").read_text() for each in (run_alone, run)]
        assert captions[0] == captions[1]
        assert vars(run.result.gap) == pytest.approx(vars(run_alone.result.gap), abs=1e-6)
        assert (run_alone.trained_as, run.trained_as) == (method, "diffusion_bridge")
    assert len({run.result.gap.paired_cosine for run in shared.runs}) == 4
    assert shared.runs[-1].alignment == "memory_bridge"


def test_a_training_of_its_own_that_is_there_is_kept(config, tmp_path):
    config.methods, config.seeds, config.baseline = ["memory_bridge"], [0], None
    compare(config)
    config.methods = ["diffusion_bridge", "memory_bridge"]
    assert {run.trained_as for run in compare(config).runs} == {"memory_bridge"}
