"""Sweeps: what varies among finished evaluations, their scores and their plots."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from evaluation.reports.sweep_plots import in_order, plot_heat_map, plot_lines
from evaluation.reports.sweeps import read_evaluation, sweep_points, sweep_runs, sweep_table, swept_options

GAP = {"centroid_distance": 0.1, "image_to_text_recall_at_1": 0.2, "image_to_text_recall_at_10": 0.5}


@pytest.fixture
def evaluated(tmp_path):
    """Writes an evaluation of a captioner with a bridge and returns it: evaluated("a", cider, noise_std=…, seed=…)."""

    def write(name, cider, seed=0, image_side=None, decoding=None, embed_scale=5.0, **alignment):
        diffusion, run, folder = (tmp_path / kind / name for kind in ("ddpm", "captioner", "evaluation"))
        alignment = {"name": "bridge", "image_timestep": 300, "diffusion": str(diffusion), **alignment}
        configs = {
            diffusion: {"seed": seed, "name": name, "diffusion": {"embed_scale": embed_scale}},
            run: {"seed": seed, "output_dir": str(run), "alignment": alignment, "loop": {"steps": 700}},
        }
        for path, config in configs.items():
            path.mkdir(parents=True)
            OmegaConf.save(OmegaConf.create(config), path / "config.yaml")
        folder.mkdir(parents=True)
        scores = {
            "checkpoint": str(run), "metrics": {"CIDEr": cider, "SPICE": None},
            "gap": {**GAP, "paired_cosine": cider / 100},
            "decoding": decoding or {"strategy": "greedy"}, "evaluated_on": {"dataset": "demo"},
            "inputs": {"split": "test", "image_side": image_side or {}},
        }  # fmt: skip
        (folder / "scores.json").write_text(json.dumps(scores))
        return read_evaluation(folder)

    return write


def test_the_image_side_takes_the_place_of_the_alignments_own(evaluated):
    at_300 = evaluated("a", 40.0)
    other = evaluated("b", 50.0, image_side={"image_timestep": 500})
    assert at_300.options["alignment.image_timestep"] == 300 and at_300.options["ddpm.diffusion.embed_scale"] == 5.0
    assert swept_options([at_300, other]) == ["alignment.image_timestep"]
    options = ["alignment.image_timestep"]
    points = sweep_points(sweep_runs([at_300, other], options, "CIDEr"), options, "CIDEr")
    assert [(point["options"]["alignment.image_timestep"], point["values"]) for point in points] == [
        (300, [40.0]), (500, [50.0]),
    ]  # fmt: skip
    assert at_300.metric("gap.paired_cosine") == 0.4
    with pytest.raises(ValueError, match=r"metric=gap\.nothing is not in .*which has CIDEr, SPICE"):
        at_300.metric("gap.nothing")
    with pytest.raises(ValueError, match="metric=SPICE could not run in"):
        sweep_runs([at_300], [], "SPICE")


def test_seeds_are_averaged_and_two_options_found_in_training_and_diffusion(evaluated):
    evaluations = [
        evaluated(f"{scale}_{noise}_{seed}", scale + 100 * noise + seed, seed, embed_scale=scale, noise_std=noise)
        for scale in (2.0, 5.0)
        for noise in (0.1, 0.2)
        for seed in (0, 1)
    ]
    options = swept_options(evaluations)
    assert set(options) == {"alignment.noise_std", "ddpm.diffusion.embed_scale"}
    assert swept_options(evaluations, ["embed_scale", "noise_std"]) == [
        "ddpm.diffusion.embed_scale",
        "alignment.noise_std",
    ]
    points = sweep_points(sweep_runs(evaluations, options, "CIDEr"), options, "CIDEr")
    assert {tuple(point["options"].values()): point["values"] for point in points} == {
        (0.1, 2.0): [12, 13], (0.2, 2.0): [22, 23], (0.1, 5.0): [15, 16], (0.2, 5.0): [25, 26],
    }  # fmt: skip
    assert [*points[0]["options"].values()] == [0.1, 2.0] and [*points[1]["options"].values()] == [0.1, 5.0]
    assert "25.5 ± 0.7" in sweep_table(points, "CIDEr").markdown()
    with pytest.raises(ValueError, match=r"have the same ddpm.* and seed \(they differ in .*noise"):
        sweep_runs(evaluations, ["ddpm.diffusion.embed_scale"], "CIDEr")
    with pytest.raises(ValueError, match=r"options: loop.steps does not differ .*what differs: alignment.noise_std"):
        swept_options(evaluations, ["loop.steps"])
    with pytest.raises(ValueError, match="they are of the same options"):
        sweep_runs([evaluations[0], evaluated("again", 1.0, 0, embed_scale=2.0, noise_std=0.1)], options, "CIDEr")


def test_nothing_or_too_much_that_differs_is_an_error(evaluated, tmp_path):
    first = evaluated("a", 1.0, noise_std=0.1, seed=0)
    with pytest.raises(ValueError, match="do not differ in any option but the seed"):
        swept_options([first, evaluated("b", 1.0, noise_std=0.1, seed=1)])
    more = [
        evaluated("c", 2.0, noise_std=0.2),
        evaluated("d", 2.0, noise_std=0.1, embed_scale=9.0),
        evaluated("e", 2.0, noise_std=0.1, eta=1.0),
    ]
    with pytest.raises(ValueError, match=r"differ in 3 options, a plot shows two \(.*noise_std: 0\.1, 0\.2"):
        swept_options([first, *more])
    with pytest.raises(FileNotFoundError, match=r"No scores\.json in .*nowhere"):
        read_evaluation(tmp_path / "nowhere")


def test_an_option_that_follows_from_another_is_left_out(evaluated):
    greedy, three, five = (
        {"strategy": "greedy"}, {"strategy": "beam", "beams": 3}, {"strategy": "beam", "beams": 5}
    )  # fmt: skip
    evaluations = [evaluated(str(n), 1.0 + n, decoding=decoding) for n, decoding in enumerate((greedy, three, five))]
    assert swept_options(evaluations) == ["decoding.beams"]


def test_values_are_in_order():
    assert in_order([300, "snr", 20, "null", 300, 1.5]).categories.tolist() == [1.5, 20, 300, "snr", "null"]


def test_none_and_lists_are_values_like_others(evaluated):
    evaluations = [evaluated("a", 1.0, betas=None), evaluated("b", 2.0, betas=[0.5, 0.9]), evaluated("c", 3.0, betas=2)]
    assert swept_options(evaluations) == ["alignment.betas"]
    points = sweep_points(sweep_runs(evaluations, ["alignment.betas"], "CIDEr"), ["alignment.betas"], "CIDEr")
    assert [point["options"]["alignment.betas"] for point in points] == [2, "null", "[0.5, 0.9]"]
    assert json.loads(json.dumps(points, allow_nan=False)) == points
    without = [evaluated("d", 1.0, eta=None), evaluated("e", 2.0)]  # an option that is not there is none
    with pytest.raises(ValueError, match="do not differ"):
        swept_options(without)


def test_lines_show_means_and_spreads_and_take_a_logarithmic_axis_where_values_span_it():
    rows = [("c3", 5, 1), ("c3", 5, 3), ("c3", 1, 0), ("c3", 1, 0), ("c3", 100, 4), ("c1", 5, 2), ("c1", 5, 2)]
    frame = pd.DataFrame(rows, columns=["method", "% of captions", "CIDEr"])
    plot = plot_lines(frame, "% of captions", "CIDEr", "method").axes[0]
    line = plot.containers[0].lines[0]
    assert list(line.get_xdata()) == [1, 5, 100] and list(line.get_ydata()) == [0, 2, 4]
    assert plot.get_xscale() == "log" and [t.get_text() for t in plot.get_xticklabels()] == ["1", "5", "100"]
    by_word = pd.DataFrame({"loss_weighting": ["snr", "constant"], "CIDEr": [1.0, 2.0]})
    words = plot_lines(by_word, "loss_weighting", "CIDEr").axes[0]
    assert [t.get_text() for t in words.get_xticklabels()] == ["snr", "constant"] and words.get_xscale() == "linear"
    assert plot.containers[0].has_yerr and not words.containers[0].has_yerr  # one seed has no spread to show
    many = pd.DataFrame([(str(n), 1, 1) for n in range(30)], columns=["line", "x", "y"])
    lines = [container.lines[0] for container in plot_lines(many, "x", "y", "line").axes[0].containers]
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(lines) == 30 and len(looks) == 24


def test_a_heat_map_leaves_pairs_empty_that_are_not_there():
    runs = pd.DataFrame({"timestep": [100, 100, 300], "steps": [1, 5, 5], "CIDEr": [40.0, 50.0, 0.123]})
    plot = plot_heat_map(runs.pivot_table("CIDEr", "timestep", "steps"), "CIDEr").axes[0]
    values = np.ma.filled(plot.images[0].get_array(), np.nan)
    assert np.array_equal(values, [[40, 50], [np.nan, 0.123]], equal_nan=True)
    assert {text.get_text() for text in plot.texts} == {"40.0", "50.0", "0.123"}
    assert plot.get_ylabel() == "timestep" and [t.get_text() for t in plot.get_xticklabels()] == ["1", "5"]
