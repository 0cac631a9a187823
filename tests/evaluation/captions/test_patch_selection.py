"""The file of selected patches, and where they are in a picture."""

from __future__ import annotations

import pytest

from evaluation.captions.evaluation_folder import EvaluationFolder
from evaluation.captions.patch_selection import FILE, PatchSelection, read_selections, write_selections

SELECTION = PatchSelection(3, "crop", [0, 5], ["dog", "ball", "grass", "sky"])


def test_boxes_are_cells_of_what_the_encoder_sees():
    assert SELECTION.boxes(500, 300) == [(100, 0, 100, 100), (300, 100, 100, 100)]
    squashed = PatchSelection(3, "squash", [0, 5], ["dog"])
    assert squashed.boxes(600, 300) == [(0, 0, 200, 100), (400, 100, 200, 100)]
    assert SELECTION.title == "dog, ball, grass"


def test_what_is_written_is_read_again(tmp_path):
    selections = {"7": SELECTION, 'a "quoted" id': PatchSelection(7, "pad", [], ["é"])}
    write_selections(tmp_path / FILE, selections)
    assert read_selections(tmp_path / FILE) == selections and len((tmp_path / FILE).read_text().splitlines()) == 4
    assert read_selections(tmp_path / "none.json") == {}


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / FILE).write_text('{"7": {"grid": 3}}')
    with pytest.raises(ValueError, match=r"patches\.json is damaged \(3 errors\): delete it, or evaluate again"):
        read_selections(tmp_path / FILE)


def test_other_predictions_take_the_patches_away(tmp_path):
    write_selections(tmp_path / FILE, {"7": SELECTION})
    EvaluationFolder(tmp_path, {}).write_predictions({"7": "a dog"})
    assert read_selections(tmp_path / FILE) == {}
