"""The command that prepares a data set: what it tells of unreadable pictures and patch tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from comparison.prepare_data import prepare
from embedding_space.tables import write_tables


def test_patch_tokens_and_unreadable_pictures_of_a_folder(compose, tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    images, captions = [], []
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
        images.append({"image_id": str(number), "path": f"{number}.png", "split": "train"})
        captions.append({"caption_id": str(number), "image_row": number, "caption": "a house", "split": "train"})
    (root / "4.png").write_text("no picture")
    write_tables(root, images, captions)
    options = ["dataset=tables", "dataset.name=mine", f"dataset.root={root}", f"output_dir={tmp_path}/o"]
    with pytest.raises(ValueError, match=r"1 of 6 images cannot be read.*max_unreadable_fraction"):
        prepare(compose("prepare_data", *options, "patches=true"))
    store = prepare(compose("prepare_data", *options, "patches=true", "max_unreadable_fraction=0.2"))
    printed = capsys.readouterr().out
    assert (
        f"{store.path}: 6 images of 128 dimensions, 6 texts of 128 dimensions, 36 patch tokens of 128 dimensions an "
        "image, their features of 368 dimensions, without 1 that could not be read (unreadable.jsonl)\n"
    ) in printed
    patches = store.patches("train")
    assert patches.shape == (5, 36, 128) and store.image_ids("train") == ["0", "1", "2", "3", "5"]
    assert torch.allclose(patches[:].norm(dim=-1), torch.ones(5, 36), atol=2e-3)
    with pytest.raises(ValueError, match=r"max_unreadable_fraction=1\.5 must"):
        prepare(compose("prepare_data", *options, "max_unreadable_fraction=1.5"))


def test_a_data_set_is_fetched_first(compose, tmp_path, monkeypatch, capsys):
    fetched = []
    monkeypatch.setattr("comparison.prepare_data.download", lambda *options: fetched.append(options))
    options = ["dataset=coco", f"dataset.root={tmp_path}/coco", f"output_dir={tmp_path}/o"]
    assert prepare(compose("prepare_data", *options, "download=only", "keep_archives=true")) is None
    [(dataset, keep_archives)] = fetched
    assert dataset.name == "coco" and keep_archives and "coco: complete\n" in capsys.readouterr().out
    assert (tmp_path / "o/config.yaml").is_file() and not (tmp_path / "coco").exists()
    with pytest.raises(FileNotFoundError, match=r"dataset_coco\.json"):
        prepare(compose("prepare_data", *options, "download=true", f"dataset.source={tmp_path}"))
    assert len(fetched) == 2
    with pytest.raises(ValueError, match="download=all must be true, false or only"):
        prepare(compose("prepare_data", *options, "download=all"))


def test_texts_of_some_splits_are_encoded_and_the_summary_says_which(compose, tmp_path, capsys):
    rows = enumerate(("train", "train", "val", "pairs"))
    captions = [{"caption_id": str(n), "image_row": None, "caption": "a house", "split": split} for n, split in rows]
    write_tables(tmp_path / "data", [], captions)
    options = ["dataset=tables", "dataset.name=mine", f"dataset.root={tmp_path}/data", f"output_dir={tmp_path}/o"]
    store = prepare(compose("prepare_data", *options, "text_splits=train"))
    assert "4 texts of 128 dimensions, of which the 2 texts of train are encoded" in capsys.readouterr().out
    added = prepare(compose("prepare_data", *options, "text_splits=[val]"))
    assert "of which the 3 texts of train, val are encoded" in capsys.readouterr().out
    assert torch.equal(added.texts("val")[0], store.texts("train")[0]) and added.hash == store.hash
    assert prepare(compose("prepare_data", *options)).manifest.text_splits is None
    assert "are encoded" not in capsys.readouterr().out
    for bad in ("text_splits={train: 1}", "text_splits=[true]"):
        with pytest.raises(ValueError, match="text_splits="):
            compose("prepare_data", *options, bad)
