"""Which patches are selected, and how often they are the faulty ones."""

from __future__ import annotations

import json

import numpy as np
import torch
from PIL import Image

from pcm_net.inspect_mixup import fault_shares, inspect_mixup, mix_up
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


def test_the_command_writes_a_figure_and_the_numbers(configured, store, compose, tmp_path):
    train(configured("run"))
    captioner = load_captioner(tmp_path / "run")
    mixed = mix_up(captioner, store, "synthetic", torch.arange(300))
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
