"""Hints reach whoever reads an error: on the command line, in sweeps, and in the other processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.cli import fail
from common.errors import MissingFolder, MissingModel, NeedsEmbeddings, NeedsTables
from common.hints import with_hint
from common.processes import Processes
from embedding_space.errors import MissingPatches, MissingStore, MissingTables

DEMO = "run python scripts/prepare_data.py dataset=demo encoder=demo_clip"
TABLES = NeedsTables("No tables in data/coco", Path("data/coco"))


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (TABLES, "run python scripts/prepare_data.py dataset=coco, after writing them"),
        (
            NeedsEmbeddings("Old rows", Path("data/demo/demo_clip"), "patches=true"),
            f"delete data/demo/demo_clip and {DEMO} patches=true",
        ),
        (
            NeedsEmbeddings("No rows", Path("data/demo/demo_clip"), again=False),
            DEMO,
        ),
        (
            MissingModel("heads", Path("x"), ["config.json"], "contrastive"),
            "run python -m contrastive.train experiment=",
        ),
        (MissingModel("model", Path("x"), ["config.json"], "ddpm"), "run python -m ddpm.train dataset=..."),
    ],
)
def test_the_command_line_adds_the_command_that_helps(error, hint, capsys, monkeypatch):
    monkeypatch.delenv("DIFFUSION_BRIDGE_DATA", raising=False)
    assert with_hint(error).startswith(f"{error}: {hint}")
    with pytest.raises(SystemExit):
        fail(error)
    assert capsys.readouterr().err.startswith(f"Error: {error}: {hint}")


def test_an_error_without_a_hint_is_as_it_is():
    assert with_hint(ValueError("bad")) == "bad"


@pytest.mark.parametrize("name", ["smollm2", "gpt2", "viecap"])
def test_a_missing_folder_of_a_pretrained_decoder_is_fetched(name):
    assert with_hint(MissingFolder(Path("decoders") / name)).endswith(f"run python scripts/download.py decoder={name}")


@pytest.mark.parametrize("name", ["demo", "photos", "decap", "pcm_net", "causal_lm", "nothing"])
def test_there_is_nothing_to_fetch_for_a_decoder_from_scratch(name):
    error = MissingFolder(Path("decoders") / name)
    assert with_hint(error) == str(error)


def test_the_other_processes_are_told_with_the_hint(monkeypatch, capsys):
    processes, said = Processes(), []
    processes.count = 2

    def missing():
        raise TABLES

    def gather(told, mine):
        said.append(mine)
        told[:] = [None, said[0]]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    with pytest.raises(NeedsTables):
        processes.run_everywhere(missing)
    assert "prepare_data.py dataset=coco" in capsys.readouterr().err
    with pytest.raises(
        ValueError, match=r"process 1: NeedsTables: No tables in data/coco: run python .*prepare_data\.py"
    ):
        processes.run_everywhere(lambda: None)


@pytest.mark.parametrize(
    ("name", "painting"),
    [
        ("demo_synthetic", "python scripts/synthesize_images.py dataset=demo"),
        ("flickr8k_photos_retrieval", "python scripts/synthesize_images.py dataset=flickr8k_photos painter=retrieval"),
    ],
)
def test_painted_data_sets_are_painted_and_prepared_with_patches(name, painting, monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFUSION_BRIDGE_DATA", str(tmp_path))
    assert with_hint(MissingTables(tmp_path / name)).endswith(f": run {painting}")
    prepare = with_hint(MissingStore(tmp_path / name / "demo_clip"))
    assert prepare.endswith(f"run python scripts/prepare_data.py dataset={name} encoder=demo_clip patches=true")
    assert with_hint(MissingPatches(tmp_path / name / "demo_clip")).count("patches=true") == 1
