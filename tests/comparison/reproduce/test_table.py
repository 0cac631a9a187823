"""The tables of configs/reproduce: each is read, its stages compose, and what is wrong with one is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.files import write_json
from common.plain import plain
from comparison.reproduce.stages import COMPARISONS, RUN, gather, plan_stages
from comparison.reproduce.table import FOLDER, read_table
from image_captioning.run_names import run_name

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def test_there_is_a_table_for_each_paper():
    assert set(NAMES) >= {"diffusion_bridge_coco", "c3_coco", "pcm_net_coco", "ced_coco", "decap_coco", "capdec_coco"}


@pytest.mark.parametrize("name", NAMES)
def test_its_stages_compose_and_hang_together(name):
    table = read_table(name)
    planned = plan_stages(table, [0, 3], {})
    by_name = {}
    for stage in planned:
        by_name.setdefault(stage.name, []).append(stage)
    assert set(by_name) <= set(RUN) and planned[-1].measures and planned[0].name == "prepare_data"
    assert len({stage.folder for stage in planned}) == len(planned)
    store = by_name["prepare_data"][-1].folder
    for stage in planned:
        assert stage.options.hours[0] <= stage.options.hours[1]
        if "store" in stage.config and stage.name not in ("prepare_data", "synthesize_images"):
            assert str(stage.config.store) == str(store)
        if stage.name in COMPARISONS:
            assert plain(stage.config)["seeds"] == [0, 3]
    trained = {stage.folder for stage in planned if stage.name in ("image_captioning", "pcm_net")}
    assert {stage.config.checkpoint for stage in by_name.get("eval_coco", ())} <= {str(path) for path in trained}
    if bridges := by_name.get("ddpm"):
        captioners = by_name["image_captioning"]
        assert [str(s.folder) for s in bridges] == [s.config.alignment.diffusion for s in captioners]


def test_comparisons_train_what_the_table_reports():
    for name in ("c3_coco", "decap_coco"):
        table = read_table(name)
        config = plan_stages(table, [0], {})[-1].config
        assert plain(config)["methods"] == [row.name for row in table.rows]
    table = read_table("ced_coco")
    assert {row.name for row in table.rows} <= set(plan_stages(table, [0], {})[-1].config.rows)


def test_an_unknown_table_or_stage_is_named_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"Unknown table 'c3' \(option table\); known: c3_coco, "):
        read_table("c3")
    table = read_table("c3_coco")
    for options in ({"compare_methods": ["seeds=[1]"]}, {"compare_methods": ["name=x", "+seeds=[1]"]}):
        with pytest.raises(ValueError, match="seeds is for this command to set"):
            plan_stages(table, [0], options)
    with pytest.raises(ValueError, match=r"ddpm=\['loop\.steps=3'\]: table=c3_coco has no such stage, only prepare_d"):
        plan_stages(table, [0], {"ddpm": ["loop.steps=3"]})
    with pytest.raises(ValueError, match="Could not override 'nosuchoption'"):
        plan_stages(table, [0], {"prepare_data": ["nosuchoption=1"]})
    with pytest.raises(ValueError, match=r"seeds=\[1, 1\] must name at least one, each once"):
        plan_stages(table, [1, 1], {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": "title: [1]"}, "title"),
        ({"rows": "rows: []"}, "rows"),
        ({"gpu_gb": "gpu_gb: -1.0"}, "gpu_gb=-1.0 must"),
        ({"gpu_gb": "gpu_gb: 8.0\ntypo: 1"}, "typo"),
    ],
)
def test_a_table_that_lacks_something_is_refused(tmp_path, change, message):
    lines = (FOLDER / "c3_coco.yaml").read_text().split("\n")
    [(key, line)] = change.items()
    start = next(n for n, text in enumerate(lines) if text.startswith(f"{key}:"))
    end = next(n for n in range(start + 1, len(lines)) if not lines[n].startswith(" "))
    (tmp_path / "mine.yaml").write_text("\n".join([*lines[:start], *line.split("\n"), *lines[end:]]))
    with pytest.raises(ValueError, match=message) as caught:
        read_table("mine", tmp_path)
    assert "mine.yaml" in str(caught.value)


def test_a_metric_that_is_not_measured_is_refused():
    table = read_table("ced_coco")
    row = replace(table.rows[0], reported={"Sim_txt": 0.5})
    with pytest.raises(ValueError, match=r"reports Sim_txt, which is not measured here; known: .*sim_txt"):
        plan_stages(replace(table, rows=[row]), [0], {})


@pytest.mark.parametrize("name", ["c3_coco", "ced_coco"])
def test_results_of_comparisons_are_read_and_more_seeds_are_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = read_table(name)
    comparison = plan_stages(table, [0], {})[-1]
    assert not comparison.is_done()
    scores = {"recall_at_1": 0.1, "recall_at_5": 0.2, "recall_at_10": 0.3, "median_rank": 9.0, "queries": 5}
    directions = {name: {**scores, "similarity": 0.8} for name in ("image_to_text", "text_to_image")}
    runs = [
        {"method": row.name, "seed": 0, "decoding_name": "greedy", "metrics": {"CIDEr": 50.0, "METEOR": None}}
        if name == "c3_coco"
        else {"row": row.name, "seed": 0, "seconds": 1.0, "chosen": {}, **directions}
        for row in table.rows
    ]
    content = {"config": plain(comparison.config), "seeds": [0], "split": "test", "runs": runs}
    write_json(comparison.folder / "results.json", content)
    assert comparison.is_done() and not plan_stages(table, [0, 1], {})[-1].is_done()
    measured = gather(table, [comparison], [0])
    for row in table.rows:
        assert set(row.reported) <= set(measured[row.name]) and "METEOR" not in measured[row.name]


def test_evaluations_of_seeds_have_folders_of_their_own():
    evaluations = [s for s in plan_stages(read_table("capdec_coco"), [0, 1], {}) if s.name == "eval_coco"]
    assert [s.config.checkpoint for s in evaluations] == [
        f"outputs/image_captioning/coco_capdec_rn50x4_seed{seed}" for seed in (0, 1)
    ]
    assert callable(run_name) and evaluations[0].folder != evaluations[1].folder
