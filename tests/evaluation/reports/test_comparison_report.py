"""A comparison's folder: tables, intervals, the forest plot, the gallery and its sorting."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from common.paths import ROOT
from embedding_space.store import EmbeddingStore
from embedding_space.tables import read_tables
from evaluation.captions.patch_selection import PatchSelection, write_selections
from evaluation.captions.prediction_files import write_predictions
from evaluation.captions.result import Seconds
from evaluation.reports.comparison_report import write_comparison, write_comparison_report
from evaluation.reports.comparison_result import ComparisonResult
from evaluation.reports.comparison_tables import cider_intervals, gathered_warnings, pairwise_ciders, results_table
from evaluation.reports.forest import Estimate, Forest, in_parts
from evaluation.reports.gallery import chosen_rows, gallery_examples
from evaluation.reports.html import TEMPLATES, render
from evaluation.reports.method_result import MethodResult
from evaluation.table import Column, Table

METHODS = ("c1", "c<3>")
RECALLS = {"image_to_text_recall_at_1": 0.25, "image_to_text_recall_at_10": 0.5}
GAP = {"paired_cosine": 0.5, "centroid_distance": 0.1, **RECALLS}


@pytest.fixture
def comparison(make_store, tmp_path):
    """Results of two methods and an oracle fed text, two seeds each, on six pictures; their evaluations in tmp_path."""
    store = make_store(images=6, texts=20)
    for path in (store.path.parent / "images").iterdir():
        Image.effect_noise((400, 300), 60).save(path.with_suffix(".jpg"))
        path.with_suffix(".jpg").rename(path)  # the tables call it .txt
    ids, runs = store.image_ids("test"), []
    for place, method in enumerate((*METHODS, "oracle_text")):
        for seed in (0, 1):
            folder = tmp_path / "evaluation" / f"{place}_{seed}"
            folder.mkdir(parents=True)
            write_predictions(folder / "predictions.json", {i: f"{method} says {i}" for i in ids})
            values = [0.1 * place * row + 0.01 * seed for row in range(6)]
            (folder / "per_image.json").write_text(json.dumps({"image_ids": ids, "CIDEr": values}))
            runs.append(
                {
                    "method": method, "seed": seed, "decoding_name": "greedy", "evaluation": str(folder),
                    "caption_from": "texts" if method == "oracle_text" else "images", "total_seconds": 3.0, "images": 6,
                    "metrics": {"CIDEr": 100 * float(np.mean(values)), "BLEU-4": 1.0, "METEOR": None},
                    "gap": GAP,
                    "warnings": ["all captions are equal"] if method == "c1" else [],
                    "unavailable": {"METEOR": "no Java"},
                }
            )  # fmt: skip
    runs = [MethodResult.from_json(run) for run in runs]
    return ComparisonResult(
        title="A <title>", summary="One.", config={"methods": list(METHODS)}, store_path=str(store.path), split="test",
        seeds=[0, 1], minutes=1.0, notes=["A note."], runs=runs, intervals=cider_intervals(runs, "c1"),
        facts={"command": "python x"},
    )  # fmt: skip


def test_a_comparison_becomes_json_markdown_latex_and_one_page(comparison, tmp_path):
    text = write_comparison(tmp_path / "out", comparison, pictures=4, picture_side=100)
    assert "c<3>" in text and "vs c1" in text
    assert json.loads((tmp_path / "out/results.json").read_text()) == comparison.to_json()
    assert (tmp_path / "out/table.md").read_text().rstrip().endswith("A note.")
    latex = (tmp_path / "out/table.tex").read_text()
    assert latex.count("\\toprule") == 2 and "c$<$3$>$" in latex and "oracle\\_text" in latex
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("<article") == 4 and page.count("data:image/jpeg") == 4
    assert "<title>A &lt;title&gt;</title>" in page
    assert page.count('<svg class="forest"') == 2 and "methods:\n- c1" in page
    assert "all captions are equal" in page and "METEOR could not run: no Java" in page
    assert "oracle_text says" not in page  # its scores are on another scale
    scripts = re.findall("<script>(.*?)</script>", page, re.S)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    policies = [f"'sha256-{digest}'" for digest in hashes]
    assert f"script-src {' '.join(policies)}" in page and len(hashes) == 2
    scores = [json.loads(values) for values in re.findall(r'data-scores="(.*?)"', page)]
    for row, values in zip(chosen_rows(np.array([[0] * 6, range(6)]), 6, 4), scores, strict=True):
        assert values == [0, pytest.approx(10 * row)]


def test_the_page_compares_every_two_methods_also_of_an_older_comparison(comparison, tmp_path):
    tests = pairwise_ciders(comparison.runs)
    assert [(test.method, test.other) for test in tests] == [METHODS]  # not the oracle, of another scale
    older = write_comparison(tmp_path / "older", comparison, pictures=0, picture_side=100)
    write_comparison(tmp_path / "new", replace(comparison, pairwise=tests), pictures=0, picture_side=100)
    pages = [(tmp_path / name / "report.html").read_text() for name in ("older", "new")]
    for page in pages:
        assert page.count('<table class="pairs">') == 1 and page.count('title="c1 less c&lt;3&gt; -25.0') == 2
    assert pages[0] == pages[1] and older
    assert "- greedy: c1 less c<3> -25.0" in (tmp_path / "new/table.md").read_text()
    written = json.loads((tmp_path / "new/results.json").read_text())["pairwise"]
    assert written == json.loads(json.dumps([test.to_json() for test in tests]))


def test_the_table_has_the_facts_that_some_run_has(comparison):
    names = [column.name for column in results_table(comparison.runs).header()]
    assert not {"class", "parameters trained", "captions/s", "memory MB"} & set(names)
    facts = {
        "trained_parameters": 1200,
        "memory_bytes": 2_500_000,
        "method_class": "text only",
        "encoder_name": "small",
    }
    runs = [
        replace(run, **facts, result=replace(run.result, seconds=Seconds(captioning=0.5)))
        if run.method == "c1"
        else run
        for run in comparison.runs
    ]
    assert [MethodResult.from_json(json.loads(json.dumps(run.to_json()))) for run in runs] == runs
    table = results_table(runs)
    header = [column.name for column in table.header()]
    first, second, _ = (dict(zip(header, row, strict=True)) for row in table.cells())
    shown = {name: first[name].text for name in ("class", "parameters trained", "captions/s", "memory MB")}
    assert shown == {
        "class": "text only",
        "parameters trained": "1200",
        "captions/s": "12 ± 0",
        "memory MB": "2.5",
    }
    assert second["class"].text == second["memory MB"].text == "–"


def test_a_page_without_pictures_does_not_sort_them(comparison, tmp_path):
    write_comparison(tmp_path / "out", comparison, pictures=0, picture_side=100)
    write_comparison_report(tmp_path / "out", tmp_path / "other.html", pictures=0)
    for path in (tmp_path / "out/report.html", tmp_path / "other.html"):
        page = path.read_text()
        assert page.count("<script") == 1 and 'getElementById("sorting")' not in page and "<article" not in page


def test_what_is_no_comparison_is_refused(comparison, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No results.json in comparison=.*compare_methods.py"):
        write_comparison_report(tmp_path)
    content = comparison.to_json() | {"runs": []}
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"results\.json .* has no runs: it holds command, title, .* no comparison"):
        write_comparison_report(tmp_path)


def test_results_of_older_versions_are_shown_with_what_they_have(comparison, tmp_path):
    content = comparison.to_json()
    older = {key: content[key] for key in ("command", "config", "runs")}
    for run in older["runs"]:
        del run["evaluation"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    assert write_comparison_report(tmp_path / "older.json") == tmp_path / "older.html"
    page = (tmp_path / "older.html").read_text()
    assert page.count("<table") == 1 and "c&lt;3&gt;" in page and "<dd>0, 1</dd>" in page
    assert "No pictures: the results do not say where" in page


def test_pictures_that_are_elsewhere_leave_a_note(comparison, tmp_path):
    missing = replace(comparison, store_path=f"{tmp_path}/elsewhere/words")
    (tmp_path / "results.json").write_text(json.dumps(missing.to_json()))
    page = write_comparison_report(tmp_path).read_text()
    assert f"No pictures: No embeddings in {tmp_path}/elsewhere/words" in page and "<article" not in page


COMPARISONS = [path for path in sorted((ROOT / "results").glob("*.json")) if "runs" in json.loads(path.read_text())]


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.stem)
def test_every_committed_comparison_has_a_report(path, tmp_path):
    page = write_comparison_report(path, tmp_path / "report.html").read_text()
    names = {run.get("method", run.get("row")) for run in json.loads(path.read_text())["runs"]}
    assert names and all(f'<th scope="row">{name}</th>' in page for name in names)


def test_intervals_of_the_evaluations_files(comparison):
    c1, c3, oracle = comparison.intervals
    assert c1.cider.value == pytest.approx(0.5) and c1.comparison is None
    assert c3.comparison.difference == pytest.approx(25) and c3.comparison.per_seed == pytest.approx([25, 25])
    assert oracle.method == "oracle_text" and oracle.comparison is None  # another scale
    folder = comparison.runs[3].evaluation
    path = Path(folder) / "per_image.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"image_ids": content["image_ids"][::-1]}))
    with pytest.raises(ValueError, match=f"{folder} is not of the same images"):
        cider_intervals(comparison.runs, None)


def test_each_warning_names_its_runs_once(comparison):
    runs = comparison.runs
    first, second = gathered_warnings(runs)
    assert first == "c1 seed 0 greedy, c1 seed 1 greedy: all captions are equal"
    few = replace(runs[0], evaluation="elsewhere", share="5 %", result=replace(runs[0].result, unavailable={}))
    assert gathered_warnings([runs[0], replace(runs[0], share="100 %"), few])[0] == (
        "c1 seed 0 greedy, c1 seed 0 greedy, 5 % of the captions: all captions are equal"
    )
    assert second.startswith("c1 seed 0 greedy, c1 seed 1 greedy, c<3> seed 0 greedy and 3 more: METEOR could not run")


def test_half_of_the_pictures_are_evenly_spaced_and_half_differ_most():
    scores = np.zeros((3, 101))
    scores[0, 7], scores[1, 9], scores[2, 11] = 5, 4, -3
    assert chosen_rows(scores, 101, 6)[:1] == [0] and {50, 100} <= set(chosen_rows(scores, 101, 6))
    assert {7, 9, 11} <= set(chosen_rows(scores, 101, 8))
    assert chosen_rows(scores, 101, 500) == list(range(101)) and chosen_rows(scores, 101, 0) == []
    assert chosen_rows(np.zeros((0,)), 101, 3) == [0, 50, 100]
    assert len(chosen_rows(scores, 101, 7)) == 7


def test_the_gallery_is_of_the_first_seed_and_the_decoding_asked_for(comparison):
    store = EmbeddingStore(comparison.store_path)
    runs = comparison.runs
    examples = gallery_examples(runs, store, "test", 6)
    assert [example.image_id for example in examples] == store.image_ids("test")
    assert examples[2].captions == {method: f"{method} says {examples[2].image_id}" for method in METHODS}
    assert examples[2].scores == pytest.approx({"c1": 0, "c<3>": 20})
    assert examples[2].references == read_tables(store.path.parent).references("test")[examples[2].image_id]
    with pytest.raises(ValueError, match="shown_decoding=beam is not among the comparison's: greedy"):
        gallery_examples(runs, store, "test", 6, "beam")


def test_the_gallery_has_the_patches_of_evaluations_that_have_them(comparison, tmp_path):
    store = EmbeddingStore(comparison.store_path)
    ids = store.image_ids("test")
    selections = {image_id: PatchSelection(3, "crop", [number], ["dog"]) for number, image_id in enumerate(ids)}
    write_selections(Path(comparison.runs[2].evaluation) / "patches.json", selections)
    examples = gallery_examples(comparison.runs, store, "test", 6)
    assert [example.patches for example in examples] == [{"c<3>": selections[image_id]} for image_id in ids]
    write_comparison(tmp_path / "out", comparison, pictures=6, picture_side=100)
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("Concepts: dog") == 6 and "Patches in orange" in page


def test_the_forest_puts_values_in_proportion_on_one_axis():
    rows = {
        "a & b": {"greedy": Estimate(10, 0, 20, (5, 15)), "beam": Estimate(20, 10, 30)},
        "c": {"beam": Estimate(40, 30, 50)},
    }
    forest = Forest("Title <x>", rows, level=10.0)
    figure = ElementTree.fromstring(render("forest.html", forest=forest))
    root = figure.find("svg")
    assert root.get("aria-label") == "Title <x>" and "a & b" in [text.text for text in root.iter("text")]
    lines = {kind: [n for n in root.iter("line") if n.get("class") == kind] for kind in ("interval", "point", "level")}
    assert [len(of_kind) for of_kind in lines.values()] == [3, 2, 1]

    def ends(line):
        return [float(line.get(name)[:-1]) for name in ("x1", "x2")]

    first, second, third = (ends(line) for line in lines["interval"])
    assert first[1] - first[0] == pytest.approx(second[1] - second[0], abs=0.02) and second[1] == third[0]
    assert ends(lines["level"][0])[0] == pytest.approx(sum(first) / 2, abs=0.02)
    assert len(list(figure.iter("li"))) == 2
    assert "<li>" not in render("forest.html", forest=Forest("t", {"c": rows["c"]}))
    many = {"a": {str(n): Estimate(1, 0, 2) for n in range(6)}, "b": {"5": Estimate(1, 0, 2)}}
    with pytest.raises(ValueError, match="at most 4 series"):
        Forest("t", many)
    first, second = in_parts(many)
    assert {label: list(of) for label, of in first.items()} == {"a": list("0123")}
    assert {label: list(of) for label, of in second.items()} == {"a": list("45"), "b": ["5"]}


def test_a_table_as_latex():
    table = Table(
        [{"method": "a_b", "x": [1.0, 3.0], "d": "-3.4 [-5.2, +1.6]"}, {"method": "C³", "x": None, "d": "50 %"}],
        [Column("method"), Column("x", 1, "higher"), Column("d")],
    )
    assert table.latex().splitlines() == [
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r"method & x & d \\",
        r"\midrule",
        r"a\_b & 2.0 $\pm$ 1.4 & $-$3.4 [$-$5.2, +1.6] \\",
        r"C\textsuperscript{3} & -- & 50 \% \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert r"\textbf{2.0}" in Table([{"x": 2.0}, {"x": 1.0}], [Column("x", 1, "higher")]).latex()


def test_the_script_changes_nothing_that_the_page_needs():
    script = (TEMPLATES / "report.js").read_text()
    assert "fetch" not in script and "http" not in script and "innerHTML" not in script
