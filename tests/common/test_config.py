"""Experiments: one name for the commands of several stages, each with its own file."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hydra.core.global_hydra import GlobalHydra

from common import config as config_module
from common.cli import command
from common.config import compose_config
from common.paths import CONFIGS

SHIPPED = sorted(
    (path.stem, path.parent.name) for path in (CONFIGS / "experiment").glob("*/*.yaml") if path.stem != "data"
)


@pytest.mark.parametrize(("stage", "experiment"), SHIPPED, ids=lambda value: value)
def test_every_shipped_experiment_composes_for_each_of_its_stages(stage, experiment):
    changed = compose_config(stage, f"experiment={experiment}")
    assert changed != compose_config(stage)


def test_an_experiment_is_read_for_the_stage_that_runs(monkeypatch, tmp_path, capsys):
    seen = []
    for stage in ("ddpm", "prepare_data"):
        output = f"output_dir={tmp_path / stage}"
        monkeypatch.setattr(sys, "argv", [stage, "experiment=diffusion_bridge_reference", "dataset=flickr30k", output])
        command(stage, seen.append)()
    ddpm, prepare_data = seen
    assert ddpm.diffusion.loss_weighting == "snr" and ddpm.dataset.name == prepare_data.dataset.name == "flickr30k"
    assert "loop" not in prepare_data and prepare_data.encoder.name == ddpm.encoder.name == "ViT-B-32-quickgelu.openai"

    monkeypatch.setattr(sys, "argv", ["ddpm", "experiment=demo_clip"])
    with pytest.raises(SystemExit, match="1"):
        command("ddpm", seen.append)()
    assert "experiment=demo_clip has no settings for ddpm, only for contrastive" in capsys.readouterr().err


def test_unknown_names_and_unknown_keys_are_errors(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"Unknown experiment 'typo'; known for ddpm: diffusion_bridge_coco, "):
        compose_config("ddpm", "experiment=typo")
    with pytest.raises(ValueError, match="stepss"):
        compose_config("ddpm", "experiment=diffusion_bridge_reference", "loop.stepss=3")
    assert config_module.stage_experiments("ddpm", ["seed=1"]) == ["seed=1"]
    put = config_module.stage_experiments("ddpm", ["experiment=diffusion_bridge_reference"])
    assert config_module.stage_experiments("ddpm", put) == put == ["experiment=diffusion_bridge_reference/ddpm"]


def test_the_command_line_has_the_last_word():
    config = compose_config("ddpm", "loop.steps=7", "experiment=diffusion_bridge_reference", "denoiser=mlp")
    assert config.loop.steps == 7 and config.denoiser.kind == "mlp" and config.loop.batch_size == 64


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["loop.step=3"], "There is no option loop.step, but loop.steps"),
        (["steps=3"], "There is no option steps, but loop.steps:"),
        (["alignment=c3"], "There is no option alignment: see configs/ddpm.yaml"),
        (["denoiser=unet"], "unet1d"),
        (["dataset=[a=b]"], "dataset=[a=b]: "),
        (
            ["encoder.device=cpu"],
            "configs/ddpm.yaml and its parts leave out: add it with a +, as in +encoder.device=...",
        ),
        (["encoder.devise=cpu"], "There is no option encoder.devise"),
        (["decoding.seed=1"], "There is no option decoding.seed"),  # ddpm chooses no decoding
        (["output_dir=/dev/null/x"], "output_dir"),
        (["output_dir=/dev/null"], "/dev/null: File exists: name a folder that can be written to with output_dir=..."),
    ],
)
def test_a_misspelt_option_is_one_sentence_with_the_nearest(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(sys, "argv", ["ddpm", *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # is set by the command, and put back after the test
    with pytest.raises(SystemExit, match="1"):
        command("ddpm", print)()
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told and "append" not in told and "search path" not in told


def test_what_compose_config_refuses_names_no_folders_that_were_searched():
    with pytest.raises(ValueError, match="Could not find 'dataset/nope'") as caught:
        compose_config("ddpm", "dataset=nope")
    assert "search path" not in str(caught.value) and "flickr8k" in str(caught.value)


def test_a_mistake_of_ours_shows_where_it_is(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["ddpm", f"output_dir={tmp_path}"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit, match="1"):
        command("ddpm", lambda config: config.seed.nothing)()
    told = capsys.readouterr().err
    assert "AttributeError" in told and "hydra/_internal" not in told


@pytest.mark.parametrize("medium", ["sound", "video", "image"])
def test_c3s_imagebind_experiments_have_its_noise_in_every_method(medium):
    experiment = f"experiment=c3_imagebind_{'audio' if medium == 'sound' else medium}"
    for method in ("c1", "c2_corrupt", "c22_modified", "c3"):
        config = compose_config("image_captioning", experiment, f"alignment={method}")
        assert config.alignment.get("noise_std") == (None if method == "c1" else 0.1)
        assert config.encoder.medium == medium and config.encoder.name == f"imagebind_{medium}"
        assert config.decoder.mapper == {"kind": "linear", "prefix_length": 1}
    data = [compose_config(stage, experiment).store for stage in ("image_captioning", "compare_methods")]
    assert data[0] == data[1] and data[0].endswith(f"/imagebind_{medium}")


def test_threads_compose_side_by_side_and_leave_nothing_of_hydra():
    with ThreadPoolExecutor(4) as pool:
        seeds = list(pool.map(lambda seed: compose_config("ddpm", f"seed={seed}").seed, range(12)))
    assert seeds == list(range(12)) and not GlobalHydra.instance().is_initialized()
