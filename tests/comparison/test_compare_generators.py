"""A comparison of generators of pictures, from the entry function to table and grid, on a tiny store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.plain import plain
from comparison.compare_generators import compare
from comparison.generator_runs import GeneratorRuns, find_generators
from evaluation.pictures.comparison import GeneratorComparison, GeneratorRow, generator_table

TRAINING = [
    "size=16", "network.channels=[16,32]", "network.attention=[false,false]", "network.layers=1", "network.patch=2",
    "network.head_channels=16", "sampling.steps=1", "loop.steps=2", "loop.batch_size=8", "loop.warmup_steps=0",
    "loop.evaluate_every=null", "loop.checkpoint_every=null", "loop.precision=fp32", "loop.ema_decay=null", "samples=0",
    "validation_images=5",
]  # fmt: skip
DDPM = ["loop.steps=2", "loop.batch_size=16", "denoiser.width=16", "denoiser.depth=1", "validation_rows=8"]
TRANSLATION = [
    "loop.steps=2", "loop.batch_size=16", "loop.warmup_steps=0", "loop.ema_decay=null", "sampling.steps=2",
    "loop.evaluate_every=null", "loop.checkpoint_every=null", "model.cdim.denoiser.width=16",
    "model.cdim.denoiser.depth=1",
]  # fmt: skip

EVALUATION = ["sampling.steps=1", "metrics=[diversity]", "prompts.count=6"]


@pytest.fixture
def config(make_store, compose, tmp_path):
    """Compose a comparison on a tiny store whose images are pictures, with everything that it writes in tmp_path."""
    store = make_store(dim=16, images=24)
    random = np.random.default_rng(0)
    for path in store.tables.image_paths(np.arange(len(store.tables.images))):
        pixels = np.full((20, 24, 3), random.integers(256, size=3), np.uint8)
        Image.fromarray(pixels).save(path, format="PNG")

    def make(*overrides: str):
        return compose(
            "compare_generators", f"store={store.path}", f"dataset.root={store.path.parent}", "dataset.name=tiny",
            f"runs_dir={tmp_path / 'runs'}", f"output_dir={tmp_path / 'table'}", f"training={TRAINING}", f"ddpm={DDPM}",
            f"translation={TRANSLATION}", f"evaluation={EVALUATION}", "examples=2",
            *overrides,
        )  # fmt: skip

    return make


def test_a_comparison_trains_each_generator_once_and_reuses_it(config, tmp_path, capsys):
    chosen = config(
        "methods=[c2_collapse,decap_memory_centred,diffusion_bridge,memory_bridge,ced,oracle]", "evaluation_seeds=[0,1]"
    )
    result = compare(chosen)
    assert [row.method for row in result.rows] == [name for name in chosen.methods for _ in range(2)]
    folders = sorted(path.name for path in (tmp_path / "runs/image_generation").iterdir())
    assert folders == ["tiny_c2_collapse_seed0", "tiny_diffusion_bridge_seed0"]
    assert {row.method for row in result.rows if row.uses_pairs} == {"ced"}
    assert {row.method: row.trained_as for row in result.rows}["memory_bridge"] == "diffusion_bridge"
    seeds = [row for row in result.rows if row.method == "c2_collapse"]
    assert seeds[0].metrics != seeds[1].metrics, "each evaluation seed draws other captions with other noise"
    assert GeneratorComparison.from_json(json.loads((tmp_path / "table/results.json").read_text())) == result
    table = (tmp_path / "table/table.md").read_text()
    assert "memory_bridge draws with the generator of diffusion_bridge." in table and "±" in table
    assert "Learned from image-text pairs: ced." in table
    with Image.open(tmp_path / "table/grid.png") as grid:
        assert grid.width > 6 * 192

    weights = tmp_path / "runs/image_generation/tiny_c2_collapse_seed0/model.safetensors"
    before = weights.stat().st_mtime_ns
    again = compare(chosen)
    assert weights.stat().st_mtime_ns == before and again.rows == result.rows
    assert "Already evaluated" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("methods=[]",), r"methods=\[\] must not be empty"),
        (("methods=[c4]",), r"Unknown method 'c4' \(alignment=c4\); known: .*lafite_noise"),
        (("methods=[c1]", "evaluation_seeds=[1,1]"), r"evaluation_seeds=\[1,1\] has 1 twice"),
        (("methods=[odd]", "+variants.odd={train: []}"), r"variants\.odd has unknown keys \['train'\]"),
        (("methods=[odd]", '+variants.odd={of: c1, training: ["size=8"]}'), "draws with the generator of c1"),
        (("methods=[odd]", "+variants.odd={of: oracle}"), "of=oracle draws with another's generator itself"),
        (("methods=[c1]", 'training=["seed=3"]'), "seed is for this command to set"),
        (
            ("methods=[odd]", '+variants.odd={of: c1, evaluation: ["prompts.seed=1"]}'),
            "prompts.seed is for this command",
        ),
        (("methods=[c1]", 'ddpm=["modality=texts"]'), "modality is for this command to set"),
        (("methods=[c1]", 'translation=["dataset=demo"]'), "dataset is for this command to set"),
        (("methods=[c1]", "stage_experiment=demo"), "Unknown experiment 'demo'"),
    ],
)
def test_bad_comparisons_are_refused_before_anything_is_trained(config, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        compare(config(*overrides))
    assert not (tmp_path / "runs").exists()


def test_an_inference_side_that_the_generator_cannot_read_is_refused(config):
    with pytest.raises(ValueError, match="does something else in training"):
        compare(config("methods=[odd]", "+variants.odd={of: c1, alignment: c2_collapse}"))


def test_methods_are_found_with_those_that_they_draw_with(compose):
    chosen = compose("compare_generators")
    methods = find_generators(["oracle", "memory_bridge"], chosen.variants)
    assert list(methods) == ["c2_collapse", "oracle", "diffusion_bridge", "memory_bridge"]
    assert methods["oracle"].alignment == "c2_collapse" and methods["memory_bridge"].alignment == "memory_bridge"
    experiment = compose("compare_generators", "experiment=demo_generators")
    assert experiment.dataset.name == "demo_pictures" and experiment.stage_experiment == "demo_generators"


def test_other_settings_of_the_diffusion_model_are_another_diffusion_model(config, tmp_path):
    snr = 'ddpm: ["diffusion.loss_weighting=snr"]'
    variants = f"{{snr: {{alignment: diffusion_bridge, {snr}}}, memory: {{alignment: memory_bridge, {snr}}}}}"
    chosen = config("methods=[diffusion_bridge,snr,memory]", f"+variants={variants}")
    runs = GeneratorRuns(chosen, find_generators(chosen.methods, plain(chosen.variants)))
    runs.check()
    folders = {}
    for name, method in runs.methods.items():
        ddpm, generator = runs.trainings(method, 0)
        folders[name] = Path(ddpm.folder).name
        assert generator.config.alignment.diffusion == ddpm.folder
        assert (ddpm.config.diffusion.loss_weighting == "snr") == (name != "diffusion_bridge")
    assert folders["diffusion_bridge"] == "tiny_images_seed0" != folders["snr"] == folders["memory"]
    alone = config("methods=[memory]", f"+variants={variants}")
    again = GeneratorRuns(alone, find_generators(alone.methods, plain(alone.variants)))
    assert Path(again.trainings(again.methods["memory"], 0)[0].folder).name == folders["memory"]
    assert sum("diffusion model" in stage.label for stage in runs.plan()) == 2


def test_the_table_has_means_and_marks_the_best_but_for_upper_bounds():
    def row(method: str, seed: int, frechet: float, recall: float) -> GeneratorRow:
        return GeneratorRow(
            method=method, trained_as=method, seed=0, evaluation_seed=seed, uses_pairs=False, evaluation="",
            training_seconds=1.0, metrics={"Fréchet (clip)": frechet, "object recall": recall, "FID": None},
        )  # fmt: skip

    rows = [row("c1", 0, 4.0, 10.0), row("c1", 1, 6.0, 20.0), row("c3", 0, 2.0, 30.0), row("oracle", 0, 1.0, 90.0)]
    table = generator_table(rows, ["oracle"])
    assert [column.name for column in table.header()] == ["method", "Fréchet (clip)", "object recall"]
    assert table.cells()[0][1].text == "5.00 ± 1.41" and [row[1].best for row in table.cells()] == [False, True, False]
