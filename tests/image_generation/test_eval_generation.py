"""Scoring a folder of pictures by the command: one table, two files, reuse and refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from demo_world.detector import Detector
from demo_world.object_recall import OBJECT_METRICS
from demo_world.world import write_demo_world
from embedding_space.tables import read_tables
from evaluation.pictures.result import GenerationResult
from image_generation.eval_generation import evaluate
from image_generation.generator import ImageGenerator
from image_generation.run_names import pictures_name

FAST = ("metrics=[CLIPScore,R-precision,diversity,objects]", "r_precision.candidates=5", "encoder.batch_size=16")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small demo world, a detector that knows nothing, and the test pictures with their first captions."""
    root = tmp_path_factory.mktemp("world") / "demo"
    write_demo_world(root, pretrain=0, train=0, val=8, test=8, progress=False)
    torch.manual_seed(0)
    Detector(image_size=16, widths=(4,)).save(root.parent / "detector")
    tables = read_tables(root)
    files = tables.image_paths(tables.image_rows("test"))
    captions = [texts[0] for texts in tables.references("test").values()]
    images = [{"file": path.name, "sentence": text} for path, text in zip(files, captions, strict=True)]
    (files[0].parent / "images.json").write_text(
        json.dumps({"encoder": {"name": "other", "model": "x"}, "images": images})
    )
    return root.parent, files[0].parent


@pytest.fixture
def options(world, tmp_path):
    root, pictures = world
    named = {"dataset.root": root / "demo", "pictures": pictures, "detector": root / "detector", "split": "val"}
    return [*FAST, *(f"{name}={value}" for name, value in named.items()), f"output_dir={tmp_path / 'scores'}"]


def test_scores_and_the_numbers_of_each_picture_are_written(compose, options, tmp_path, capsys):
    result = evaluate(compose("eval_generation", *options))
    written = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert GenerationResult.from_json(written) == result and written["command"]
    assert result.metrics["R@1"] > 60  # the demo's CLIP knows its world
    assert set(OBJECT_METRICS) <= {*result.metrics}
    assert result.protocol.reference.split == "val" and result.protocol.judge.read_by_generator is False
    assert result.protocol.encoder["precision"] == "fp32" and result.protocol.caption_judge["name"] == "detector"
    per_picture = json.loads((tmp_path / "scores" / "per_picture.json").read_text())
    assert len(per_picture["files"]) == len(per_picture["CLIPScore"]) == 8
    assert "CLIPScore and R-precision by demo_clip, which the generator does not read" in capsys.readouterr().out


def test_the_same_evaluation_is_reused_and_another_refused(compose, options, capsys):
    first = evaluate(compose("eval_generation", *options))
    assert evaluate(compose("eval_generation", *options)) == first
    assert "Already evaluated" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"holds another evaluation \(seed was 0 there and is 1 now\)"):
        evaluate(compose("eval_generation", *options, "seed=1"))
    assert evaluate(compose("eval_generation", *options, "seed=1", "overwrite=true")).protocol.seed == 1


def test_a_folder_may_be_the_reference_and_another_encoder_the_judge(compose, options, world):
    reference = [f"reference={world[1]}", "clip_score.encoder=demo_clip", "detector=null"]
    result = evaluate(compose("eval_generation", *options, *reference))
    assert result.protocol.reference.folder == str(world[1]) and result.protocol.reference.pictures == 8
    assert result.protocol.caption_judge is None and not set(OBJECT_METRICS) & {*result.metrics}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("pictures=null", "nothing to score"),
        ("pictures=nowhere", r"no folder nowhere \(option pictures\)"),
        ("reference=nowhere", r"no folder nowhere \(option reference\)"),
        ("split=dev2", "no images of split 'dev2'"),
        ("metrics=[IS]", r"Unknown metrics \['IS'\]"),
        ("detector=nowhere", "No detector in nowhere"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(compose, options, option, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluate(compose("eval_generation", *options, option))


def test_pictures_of_a_folder_and_of_a_checkpoint_are_not_both_scored(compose):
    with pytest.raises(ValueError, match="checkpoint=a and pictures=b: give one of them"):
        evaluate(compose("eval_generation", "checkpoint=a", "pictures=b"))


def test_a_folder_is_named_after_the_pictures_and_what_they_are_compared_with():
    assert (
        pictures_name(None, "outputs/c3/pictures", "demo", "val", "demo_clip", None)
        == "c3_pictures_against_demo_val_demo_clip"
    )
    assert pictures_name(None, "/a/my pictures/", "demo", "val", "clip", "/b/real") == "a_my-pictures_against_real_clip"


def test_a_generators_pictures_are_drawn_and_scored(make_store, compose, tmp_path):
    store = make_store(dim=16)
    for row, path in enumerate(store.tables.image_paths(np.arange(len(store.tables.images)))):
        Image.new("RGB", (16, 16), (row, 100, 200)).save(path, format="PNG")
    network = {"channels": [16, 32], "attention": [False, False], "layers": 1, "head_channels": 16}
    ImageGenerator(
        16, 16, network, [{"step": "Normalize"}], store.manifest.encoder, provenance={"uses_pairs": False}
    ).save_pretrained(tmp_path / "generator")
    config = compose(
        "eval_generation", f"checkpoint={tmp_path / 'generator'}", f"store={store.path}", "sampling.steps=1",
        f"dataset.root={store.path.parent}", "prompts.count=6", "metrics=[diversity]", f"output_dir={tmp_path / 'out'}",
    )  # fmt: skip
    result = evaluate(config)
    assert len(list((tmp_path / "out/pictures").glob("*.png"))) == 6
    assert result.metrics and (tmp_path / "out/scores.json").exists()
    name = compose("eval_generation", "checkpoint=outputs/image_generation/demo_c3_seed0").output_dir
    assert name == "outputs/eval_generation/demo_c3_seed0_against_demo_test_demo_clip"
