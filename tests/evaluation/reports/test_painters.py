"""PCM-Nets on pictures of several painters: what the panels show, the figure, and what is refused."""

from __future__ import annotations

import json

import pytest

from evaluation.reports.painter_plots import panels_of, plot_painters
from evaluation.reports.painters import CAPTIONS, OPTIONS, PAINTER, read_painters
from evaluation.reports.report_command import report

K, M, W = OPTIONS
VARIANTS = {
    "pcm_net": [f"{K}=5", f"{M}=5", f"{W}=1.0"],
    "pcm_base": [f"{M}=0", f"{W}=null"],
    "pcm_mixup": [f"{W}=null"],
    "pcm_cxe": [f"{M}=0"],
    "few": [f"{K}=2"],
    "two": [f"{K}=2", f"{M}=12"],
    "taught": ["loop.steps=9"],
}


@pytest.fixture
def write(tmp_path):
    """`write("file", 0.5, {"pcm_net": 90})`: a comparison with these CIDErs for seed 0, and one more for seed 1."""

    def rows(level: float | None, ciders: dict, decoding: str) -> list[dict]:
        painter = {} if level is None else {"painter": {"kind": "demo_world", "unfaithfulness": level}}
        trained = {"global_row": "image", "train_on": "synthetic", **painter}
        return [
            {
                "method": method, "seed": seed, "decoding_name": decoding, "metrics": {"CIDEr": cider + seed},
                "images": 9, "evaluated_on": {"dataset": f"painted_{level}", "store_hash": "x"}, **trained,
            }
            for method, cider in ciders.items()
            for seed in (0, 1)
        ]  # fmt: skip

    def write(name: str, level: float | None, ciders: dict, shares: dict | None = None, decoding: str = "greedy"):
        config = {"variants": {name: {"alignment": "c2_corrupt", "pcm_net": v} for name, v in VARIANTS.items()}}
        few = [
            row | {"share": f"{percent} %", "percent": percent}
            for percent, of_part in (shares or {}).items()
            for row in rows(level, of_part, decoding)
        ]
        text_only = {"method": "c3", "seed": 0, "decoding_name": decoding, "metrics": {"CIDEr": 160.0}, "images": 9}
        content = {"config": config, "runs": [*rows(level, ciders, decoding), text_only], "few_captions": few}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return str(tmp_path / f"{name}.json")

    return write


ABLATION = {"pcm_base": 80.0, "pcm_mixup": 81.0, "pcm_cxe": 82.0, "pcm_net": 83.0}


def test_each_method_is_where_one_option_is_changed_alone(write):
    file = write("a", 0.5, {**ABLATION, "few": 84.0, "two": 85.0, "taught": 86.0})
    points, decoding, datasets = read_painters([file], "CIDEr", None)
    first = points[points["seed"] == 0].set_index(["panel", "value"])["score"]
    assert decoding == "greedy" and datasets == ["painted_0.5"]
    assert first[K].to_dict() == {2: 84.0, 5: 83.0}  # `two` changes two options, and `taught` none of these
    assert first[M].to_dict() == {0: 82.0, 5: 83.0}
    assert first[W].to_dict() == {1.0: 83.0, "none": 81.0}
    assert sorted(first[PAINTER]) == [80.0, 81.0, 82.0, 83.0]
    assert panels_of(points) == [K, M, W]  # one painter and all captions are no axis


def test_files_of_one_painter_are_put_together_and_shared_runs_count_once(write, tmp_path, compose, capsys):
    files = [write(f"options_{level}", level, {**ABLATION, "few": 84.0 - level}) for level in (0, 0.5, 1)]
    files += [
        write(f"few_{level}", level, ABLATION, {10.0: {"pcm_net": 60, "pcm_base": 50}, 100.0: ABLATION})
        for level in (0, 1)
    ]
    points, _, _ = read_painters(files, "CIDEr", None)
    assert len(points[points["panel"] == K]) == 3 * 2 * 2 and len(points[points["panel"] == PAINTER]) == 3 * 4 * 2
    shares = points[(points["panel"] == CAPTIONS) & (points["seed"] == 1)]
    assert sorted(shares["score"]) == [51, 51, 61, 61, 81, 81, 84, 84] and set(shares["level"]) == {0, 1}
    figure = plot_painters(points, "CIDEr")
    lines = {plot.get_xlabel(): len(plot.containers) for plot in figure.axes}
    assert list(lines.values()) == [3, 3, 3, 4, 4] and len({plot.get_ylim() for plot in figure.axes[:3]}) == 1
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["unfaithfulness 0", "unfaithfulness 0.5", "unfaithfulness 1", "base"]

    folder = report(compose("report", f"painters=[{','.join(files)}]", f"output={tmp_path / 'out'}"))
    assert {path.name for path in folder.iterdir()} == {"painters.png", "painters.svg", "painters.md", "painters.json"}
    saved = json.loads((folder / "painters.json").read_text())
    assert len(saved["points"]) == len(points) and saved["comparisons"] == files
    table = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in (folder / "painters.md").read_text().splitlines()
    ]
    assert table[0] == ["changed", "value", "method", "0", "0.5", "1"] and table[2][1:3] == ["2", "few"]
    assert table[2][3:] == ["84.5 ± 0.7", "84.0 ± 0.7", "83.5 ± 0.7"]
    assert table[-1] == ["the ablation", "–", "pcm_net", *["83.5 ± 0.7"] * 3] and len(table) == 2 + 2 * 3 + 4 + 4
    assert "84.5 ± 0.7" in capsys.readouterr().out


def test_what_cannot_be_drawn_is_refused(write, compose, tmp_path):
    good = write("good", 0.5, ABLATION)
    for files, options, message in (
        ([write("older", None, ABLATION)], (), r"older\.json .* does not say how unfaithful the painter"),
        ([write("text", 0.5, {})], (), r"text\.json .* has no PCM-Net"),
        ([good], ("metric=SPICE",), r"metric=SPICE is not in .*good\.json for pcm_base, seed 0, which has CIDEr"),
        ([good], ("shown_decoding=beam3",), r"shown_decoding=beam3 is not in .*good\.json, which has greedy"),
        ([good, write("beam", 1, ABLATION, decoding="beam3")], (), "choose one of both with shown_decoding="),
        ([good, write("other", 0.5, {"pcm_net": 70.0})], (), r"different CIDEr of pcm_net, seed 0, .*: 83 and 70"),
        ([write("one", 0.5, {"pcm_net": 70.0})], (), "change no option, and have neither several painters"),
        ([good], ("sweep=[x]",), "are two figures: give one"),
        ([good], ("tracker=wandb",), "tracker=wandb cannot show"),
    ):
        with pytest.raises(ValueError, match=message):
            report(compose("report", f"painters=[{','.join(files)}]", f"output={tmp_path / 'out'}", *options))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        report(compose("report", f"painters=[{tmp_path}/nowhere]"))
    assert not (tmp_path / "out").exists()
