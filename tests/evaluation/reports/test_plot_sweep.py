"""scripts/report.py sweep=..., from finished evaluations' folders to figures and tables."""

from __future__ import annotations

import json

import pytest

from evaluation.reports.report_command import report


@pytest.fixture
def evaluations(tmp_path):
    for timestep in (100, 300):
        for steps in (1, 5):
            folder = tmp_path / f"evaluation/t{timestep}_s{steps}"
            folder.mkdir(parents=True)
            inputs = {"image_side": {"image_timestep": timestep, "image_steps": steps}, "split": "test"}
            (folder / "scores.json").write_text(json.dumps({"metrics": {"CIDEr": timestep / steps}, "inputs": inputs}))
    return tmp_path / "evaluation"


def test_two_options_are_a_heat_map_or_lines_and_one_is_a_line(evaluations, compose, tmp_path, capsys):
    for name, options in (
        ("map", [f"sweep={evaluations}/*"]),
        ("lines", [f"sweep={evaluations}/*", "lines=true", "options=[image_steps,image_timestep]"]),
        ("line", [f"sweep=[{evaluations}/t100_s1,{evaluations}/t300_s1]"]),
    ):
        folder = report(compose("report", *options, f"output={tmp_path}/{name}"))
        results = json.loads((folder / "sweep.json").read_text())
        written = {path.name for path in (tmp_path / name).iterdir()}
        assert written == {"sweep.json", "sweep.md", "sweep.png", "sweep.svg"}
    assert results["options"] == ["alignment.image_timestep"]
    assert [point["values"] for point in results["points"]] == [[100.0], [300.0]]
    assert "alignment.image_timestep" in capsys.readouterr().out


def test_unfinished_evaluations_are_left_out_by_name(evaluations, compose, tmp_path, capsys):
    (evaluations / "t100_s1" / "scores.json").unlink()
    report(compose("report", f"sweep={evaluations}/t*_s*", f"output={tmp_path}/out", "lines=true"))
    assert f"no scores.json: {evaluations}/t100_s1\n" in capsys.readouterr().out


def test_no_folder_and_no_difference_are_errors(evaluations, compose, tmp_path):
    for pattern, error, message in (
        ("nothing*", FileNotFoundError, r"nothing\*\'\] matches no finished evaluation"),
        ("t100_s1", ValueError, "do not differ"),
    ):
        with pytest.raises(error, match=message):
            report(compose("report", f"sweep={evaluations}/{pattern}", f"output={tmp_path}/out"))


def test_the_commands_for_sweeps_of_trainings_name_their_runs(compose):
    noise = compose("image_captioning", "alignment=c3", "alignment.noise_std=0.12", "name=noise_${alignment.noise_std}")
    assert noise.output_dir == "outputs/image_captioning/noise_0.12"
    scale = compose("ddpm", "diffusion.embed_scale=2", "name=scale_${diffusion.embed_scale}")
    reader = compose("image_captioning", "name=scale_2", "alignment.diffusion=outputs/ddpm/${name}")
    assert scale.output_dir == "outputs/ddpm/scale_2"
    assert reader.alignment.diffusion == "outputs/ddpm/scale_2"
