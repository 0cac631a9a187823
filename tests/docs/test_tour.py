"""docs/tour.ipynb: its outputs are stored, and its cells run."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient

from common.paths import ROOT

PATH = ROOT / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def cells() -> list:
    return nbformat.read(PATH, as_version=4).cells


def test_readers_see_the_outputs_of_one_run_from_top_to_bottom(cells):
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = [output.output_type for cell in code for output in cell.outputs]
    assert "error" not in kinds and "stream" not in kinds  # no progress bars, no warnings
    pictures = [o for cell in code for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 10
    assert PATH.stat().st_size < 2_000_000


def test_what_it_says_has_no_path_of_a_machine_and_its_links_lead_to_pages(cells):
    text = "\n".join(cell.source for cell in cells) + str([cell.get("outputs") for cell in cells])
    assert str(ROOT) not in re.sub(r"'image/png': '[^']*'", "", text)
    for page in re.findall(r"\]\((\w+\.md)[#)]", text):
        assert (ROOT / "docs" / page).is_file(), page


def test_each_code_cell_is_python(cells):
    for cell in cells:
        if cell.cell_type == "code":
            compile(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE), cell.id, "exec")


def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("TOUR_FAST", "1")
    monkeypatch.setenv("TOUR_FOLDER", str(tmp_path))
    notebook = nbformat.read(PATH, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.source = [], cell.source.removeprefix("%%capture\n")
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": ROOT}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type != "stream"]
    assert sum("image/png" in output["data"] for output in shown) == 10
    assert (tmp_path / "outputs/image_captioning/demo_c3_seed0/finished.json").is_file()
