"""Real pictures, of a split or of a folder."""

from __future__ import annotations

import pytest

from evaluation.pictures.references import folder_references, split_references


def test_a_split_has_its_images_and_says_so(make_store):
    store = make_store(images=5)
    references = split_references(store.path.parent, " Val")
    assert [path.name for path in references.paths] == [f"val_{number}.txt" for number in range(5)]
    facts = references.facts
    assert (facts.pictures, facts.dataset, facts.split, facts.folder) == (5, "tiny", "val", None)
    assert facts.hash == store.tables.hash


def test_a_folder_has_all_its_pictures(write_pictures):
    folder = write_pictures("real", ["red", "blue"], sentences=False)
    first = folder_references(folder)
    assert [path.name for path in first.paths] == ["000.png", "001.png"] and first.facts.folder == str(folder)
    (folder / "001.png").unlink()
    assert folder_references(folder).facts.hash != first.facts.hash


def test_what_is_missing_is_refused(tmp_path, make_store):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere \(option reference\)"):
        folder_references(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no picture in .* \(option reference\)"):
        folder_references(tmp_path)
    with pytest.raises(ValueError, match="no images of split 'dev2'"):
        split_references(make_store(images=5).path.parent, "dev2")
