"""Which patches are selected, and how often they are the faulty ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from embedding_space.write_store import write_store
from evaluation.captions.patch_selection import PatchSelection
from pcm_net.inspect_mixup import fault_shares, inspect_mixup, plot_selection
from pcm_net.load import load_captioner
from pcm_net.train import train
from synthetic_images.defects import BLURRED, EXTRA, PLACE, Defect, write_defects


def test_shares_are_counted_patch_by_patch(tmp_path):
    # Of 2 x 2 patches: a blurred one, an extra thing over the two below; a wrong backdrop counts nowhere.
    write_defects(
        tmp_path / "defects.parquet",
        [
            ("a", Defect(BLURRED, "dog", 0.1, 0.1, 0.4, 0.4, "", "")),
            ("b", Defect(EXTRA, "cat", 0.1, 0.6, 0.9, 0.9, "", "")),
            ("a", Defect(PLACE, "", 0.0, 0.0, 1.0, 1.0, "beach", "farm")),
        ],
    )
    selected = np.array([[True, True, False, False], [False, False, True, False]])
    shares = fault_shares(tmp_path, ["a", "b"], selected)
    assert shares["any"]["faulty"] == 3 / 8 and shares["any"]["selected_of_faulty"] == 2 / 3
    assert shares["any"]["selected_of_sound"] == 1 / 5 and np.isclose(shares["any"]["ratio"], 10 / 3)
    assert shares[BLURRED]["selected_of_faulty"] == 1.0 and PLACE not in shares


def test_where_nobody_knows_the_faults_there_are_no_shares(tmp_path):
    assert fault_shares(tmp_path, ["a"], np.zeros((1, 4), bool)) is None


def test_pictures_show_what_is_selected(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.png")
    selection = PatchSelection(2, "crop", [1, 2], ["dog", "cat", "boat", "tree"])
    [axis] = plot_selection([tmp_path / "photo.png"], [selection]).axes
    boxes = [(box.get_x(), box.get_y(), box.get_width(), box.get_height()) for box in axis.patches]
    assert axis.get_title() == "dog, cat, boat" and boxes == [(29.5, -0.5, 20, 20), (9.5, 19.5, 20, 20)]


def test_the_command_writes_a_figure_and_the_numbers(configured, store, compose, tmp_path):
    train(configured("run"))
    captioner = load_captioner(tmp_path / "run")
    mixed = captioner.mixup.select(store.images("synthetic"), store.patches("synthetic"))
    whole = captioner.mixup(store.images("synthetic"), store.patches("synthetic")[:])
    assert torch.equal(mixed.selected, whole.selected) and torch.equal(mixed.salient, whole.salient)
    for path in (store.path.parent / "images").iterdir():  # pictures to draw on, in the place of this world's words
        Image.new("RGB", (20, 20), "white").save(path, format="PNG")
    faults = [(f"synthetic_{n}", Defect(BLURRED, "dog", 0.0, 0.0, 0.4, 0.4, "", "")) for n in range(300)]
    write_defects(store.path.parent / "defects.parquet", faults)
    config = compose(
        "inspect_mixup", f"store={store.path}", f"checkpoint={tmp_path / 'run'}", "split=synthetic", "images=100",
        "pictures=3", f"output_dir={tmp_path / 'mixup'}",
    )  # fmt: skip
    results = inspect_mixup(config)
    assert results["images"] == 100 and 1 <= results["selected_patches_per_image"] <= 4
    assert json.loads((tmp_path / "mixup/mixup.json").read_text())["faults"]["blurred_object"]["faulty"] == 0.25
    assert Image.open(tmp_path / "mixup/mixup.png").width > 300


def test_of_photos_there_is_a_figure_and_no_table(configured, store, compose, tmp_path, capsys):
    """A checkpoint trained on real pairs; nobody painted the pictures."""
    train(configured("run", "train_on=pairs", "dataset.pairs_split=synthetic", "validation_split=val"))
    for path in (store.path.parent / "images").iterdir():
        Image.new("RGB", (40, 20), "white").save(path, format="PNG")
    config = compose(
        "inspect_mixup", f"store={store.path}", f"checkpoint={tmp_path / 'run'}", "split=test", "pictures=3",
        f"output_dir={tmp_path / 'mixup'}",
    )  # fmt: skip
    assert inspect_mixup(config)["faults"] is None and (tmp_path / "mixup/mixup.png").exists()
    printed = capsys.readouterr().out
    assert "There is no table of faults" in printed and "missing_object" not in printed
    # The painter's other pictures have faults; these are real.
    faults = [("synthetic_0", Defect(BLURRED, "dog", 0.0, 0.0, 0.4, 0.4, "", ""))]
    write_defects(store.path.parent / "defects.parquet", faults)
    assert inspect_mixup(config)["faults"] is None


def test_a_store_of_another_encoder_is_refused(configured, store, compose, tmp_path, word_encoder):
    train(configured("run"))
    other = write_store(store.path.parent, word_encoder(12), "other", "synthetic", "synthetic")
    with pytest.raises(ValueError, match="choose the store of the same encoder"):
        inspect_mixup(compose("inspect_mixup", f"store={other.path}", f"checkpoint={tmp_path / 'run'}"))
