"""The table of defects, and the patches that they are in, against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from synthetic_images.defects import KINDS, LOCAL_KINDS, PLACE, Defect, defect_patches, read_defects, write_defects


def reference(entries, grid, image_ids, kinds):
    """Patch by patch: whether any box has a part of it inside."""
    patches = np.zeros((len(image_ids), grid * grid), bool)
    for image_id, defect in entries:
        if image_id not in image_ids or defect.kind not in kinds:
            continue
        for row in range(grid):
            for column in range(grid):
                wide = min(defect.x1, (column + 1) / grid) - max(defect.x0, column / grid)
                high = min(defect.y1, (row + 1) / grid) - max(defect.y0, row / grid)
                patches[image_ids.index(image_id), row * grid + column] |= wide > 0 and high > 0
    return patches


@pytest.mark.parametrize("grid", [1, 3, 7])
def test_patches_are_those_that_a_box_overlaps(tmp_path, grid):
    random = np.random.default_rng(0)
    ids = [f"image_{number}" for number in range(9)]
    entries = []
    for _ in range(25):
        (x0, x1), (y0, y1) = (np.sort(random.random(2)).astype(np.float32).tolist() for _ in range(2))
        defect = Defect(str(random.choice(KINDS)), "dog", x0, y0, x1, y1, "1", "2")
        entries.append((str(random.choice(ids)), defect))
    write_defects(tmp_path / "defects.parquet", entries)
    defects = read_defects(tmp_path)
    assert len(defects) == 25 and defects["image_id"].to_pylist() == [image_id for image_id, _ in entries]
    asked = ids[:0:-1]  # others, in another order
    for kinds in (LOCAL_KINDS, KINDS, ("wrong_count",)):
        expected = reference(entries, grid, asked, kinds)
        assert (defect_patches(defects, grid, asked, kinds) == expected).all()
    assert not defect_patches(defects, grid, ["unknown"]).any()


def test_rows_of_patches_come_from_the_top(tmp_path):
    boxes = [
        Defect("missing_object", "dog", 0.6, 0.0, 0.9, 0.4, "1", "0"),
        Defect(PLACE, "", 0, 0, 1, 1, "lake", "farm"),
    ]
    write_defects(tmp_path / "defects.parquet", [("a", box) for box in boxes])
    defects = read_defects(tmp_path)
    assert defect_patches(defects, 2, ["b", "a"]).tolist() == [[False] * 4, [False, True, False, False]]
    assert defect_patches(defects, 2, ["a"], [PLACE]).all()


def test_no_defects_are_no_patches(tmp_path):
    write_defects(tmp_path / "defects.parquet", [])
    assert defect_patches(read_defects(tmp_path), 4, ["a", "b"]).sum() == 0
    with pytest.raises(FileNotFoundError, match="only painter=demo knows what is wrong"):
        read_defects(tmp_path / "elsewhere")
