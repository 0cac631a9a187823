"""The table of all tests: every pair once and the better method first, and in a browser any two, turned and sorted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from evaluation.reports.html import write_report
from evaluation.reports.pair_matrix import pair_matrices
from evaluation.reports.pair_table import ahead_first, pair_table
from evaluation.reports.pairwise import PairTest, pairwise_tests
from evaluation.reports.statistics import paired_comparison

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


def paired(seeds: int = 2) -> list[PairTest]:
    """Of three methods and two decodings; `c<3>` is far ahead, the others are alike."""
    random = np.random.default_rng(0)
    ahead = {"a": 0.0, "b": 0.1, "c<3>": 3.0}
    values = {name: random.normal(size=(seeds, 40)) + shift for name, shift in ahead.items()}
    return pairwise_tests({"greedy": values, "beam": values})


def test_each_pair_is_there_once_with_the_better_method_first():
    tests = paired()
    table = pair_table(tests, pair_matrices(tests), "sound")
    assert table is not None and table.methods[0] == "c<3>" and table.decodings == ["greedy", "beam"]
    assert len(table.rows) == len(tests) == 6
    assert [row.decoding for row in table.rows] == ["greedy"] * 3 + ["beam"] * 3
    assert all(row.difference.startswith("+") for row in table.rows)
    assert [row.is_significant for row in table.rows[:3]] == [True, True, False]
    single = paired(seeds=1)
    of_one_seed = pair_table(single, pair_matrices(single))
    assert of_one_seed is not None and {row.p_seeds for row in of_one_seed.rows} == {"–"}
    assert pair_table([], []) is None


def test_a_turned_test_is_that_of_the_other_method_less_this_one():
    random = np.random.default_rng(1)
    values = {name: random.normal(size=(2, 30)) for name in "ab"}
    (test,) = pairwise_tests({"greedy": values}, resamples=500, seed=3)
    turned = test.turned()
    slow = paired_comparison(values["b"], values["a"], resamples=500, seed=3)
    assert (turned.method, turned.other) == ("b", "a") and turned.turned() == test
    for name in ("difference", "low", "high", "p_images", "p_seeds"):
        assert getattr(turned.comparison, name) == pytest.approx(getattr(slow, name), abs=1e-9)
    assert turned.comparison.per_seed == pytest.approx(slow.per_seed)
    assert ahead_first(test) == ahead_first(turned)


def write_page(path) -> str:
    tests = paired()
    matrices = pair_matrices(tests)
    write_report(path, "Title", "Summary.", pairs=matrices, pair_table=pair_table(tests, matrices))
    return path.read_text(encoding="utf-8")


def test_the_page_has_the_table_without_a_script_too_and_loads_nothing(tmp_path):
    page = write_page(tmp_path / "report.html")
    assert page.count("<tr><td>greedy</td><td>c&lt;3&gt;</td>") == 2 and '<form id="pair-choice"' in page
    assert page.count("script-src 'sha256-") == 1 and "src=" not in page and "http:" not in page
    write_report(tmp_path / "without.html", "Title", "Summary.")
    without = (tmp_path / "without.html").read_text()
    assert "pair-choice" not in without.split("<body>")[1] and "<script>" not in without


@pytest.fixture
def shown(tmp_path) -> Iterator[Any]:
    """The page in a browser, from a file."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("there is no Chromium")
    write_page(tmp_path / "report.html")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("console", lambda message: pytest.fail(message.text))
        page.goto((tmp_path / "report.html").as_uri())
        yield page
        browser.close()


@pytest.mark.browser
@pytest.mark.slow
def test_any_two_methods_are_chosen_turned_and_sorted_by_keyboard(shown):
    def rows() -> list[list[str]]:
        return [row.inner_text().split("\t") for row in shown.locator("#pair-tests tbody tr:visible").all()]

    greedy = rows()
    assert [row[:2] for row in greedy] == [["greedy", "c<3>"]] * 2
    first, second, decoding = (shown.get_by_label(name) for name in ("First method", "Second method", "Decoding"))
    first.select_option("a")
    second.select_option("c<3>")
    decoding.select_option("")
    turned, plain = rows(), next(row for row in greedy if row[2] == "a")
    assert [row[0] for row in turned] == ["greedy", "beam"]
    low, high = plain[4].strip("[]").split(", ")
    assert turned[0][1:] == [
        "a", "c<3>", "-" + plain[3][1:], f"[{high.replace('+', '-')}, {low.replace('+', '-')}]", *plain[5:],
    ]  # fmt: skip
    assert shown.locator("td.worse:visible").count() >= 2
    assert "2 tests, 2 of them significant" in shown.locator("output").inner_text()
    first.select_option("")
    second.select_option("")
    assert len(rows()) == 6
    button = shown.get_by_role("button", name="difference")
    for direction, order in (("ascending", 1), ("descending", -1)):
        button.focus()
        shown.keyboard.press("Enter")
        values = [order * float(row[3]) for row in rows()]
        assert values == sorted(values)
        assert shown.locator(f"th[aria-sort={direction}]").inner_text().startswith("difference")
    shown.get_by_label("significant ones alone").check()
    assert len(rows()) == 4
    first.select_option("a")
    second.select_option("a")
    assert rows() == [] and "Choose two different methods" in shown.locator("output").inner_text()
