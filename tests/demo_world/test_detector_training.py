"""Training the detector: what is varied, learned and written."""

from __future__ import annotations

import json

import pytest
import torch

from demo_world.detector import Detector
from demo_world.labeled_scenes import draw_scenes
from demo_world.task import Augmentation, DetectorTask
from demo_world.training_run import train
from training.batches import EpochOrder, StepRandom

SMALL = (
    "training_scenes=24", "validation_scenes=12", "report_scenes=6", "loop.steps=2", "loop.batch_size=8",
    "detector.widths=[4,8]", "detector.image_size=32",
)  # fmt: skip


@pytest.fixture
def random() -> StepRandom:
    return StepRandom(0, 0, 4, slice(0, 4))


def test_without_any_of_it_pictures_are_mirrored_at_most(random):
    pictures = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    varied = Augmentation(zoom=0, shift=0, light=0, softened=0, noise_std=0).apply(pictures, random)
    for picture, after in zip(pictures.float(), varied, strict=True):
        mirrored = picture.flip(-1)
        near = torch.minimum((after - picture).abs().max(), (after - mirrored).abs().max())
        assert near < 1e-2
    assert not torch.equal(varied.round(), pictures.float())  # one of them is


def test_varied_pictures_depend_on_the_step_alone_and_stay_in_range():
    pictures = torch.full((4, 3, 8, 8), 250, dtype=torch.uint8)
    draws = [Augmentation(noise_std=0.2).apply(pictures, StepRandom(0, step, 4, slice(0, 4))) for step in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert draws[0].min() >= 0 and draws[0].max() <= 255
    with pytest.raises(ValueError, match=r"augmentation\.softened=2\.0 must be less than or equal to 1"):
        Augmentation(softened=2.0)


def test_a_few_pictures_can_be_learned_by_heart():
    scenes = draw_scenes(3, "pretrain", 8, 32)
    torch.manual_seed(0)
    model = Detector(image_size=32, widths=(16, 32))
    still = Augmentation(zoom=0, shift=0, light=0, softened=0, noise_std=0)
    task = DetectorTask(scenes, scenes, still, EpochOrder(8, 8, seed=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(60):
        loss = task.loss(model, StepRandom(0, step, 8, slice(0, 8)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        metrics = task.evaluate(model.eval()).metrics
    assert set(metrics) == set(task.better)
    assert metrics["mean_average_precision"] > 0.95 and metrics["place_accuracy"] == 1


def test_a_run_writes_a_detector_with_its_threshold_and_its_report(compose, tmp_path):
    folder = tmp_path / "detector"
    metrics = train(compose("demo_world", *SMALL, f"output_dir={folder}"))
    detector = Detector.load(folder)
    assert 0 <= metrics["mean_average_precision"] <= 1 and detector.threshold != 0.5
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["report_metrics"]["noun_recall"] >= 0 <= manifest["report_misplaced"]["noun_recall"]
    assert "object recall" in manifest["report_captions"] and manifest["threshold"] == detector.threshold.item()
    assert manifest["world_seed"] == 1 and manifest["report_split"].startswith("test, 6 scenes of the world of seed 0")
    again = train(compose("demo_world", *SMALL, f"output_dir={folder}"))
    assert again["mean_average_precision"] == metrics["mean_average_precision"]  # reused


def test_the_judged_world_is_not_trained_on(compose, tmp_path):
    with pytest.raises(ValueError, match="world_seed=0 is report_seed, too"):
        train(compose("demo_world", "world_seed=0", f"output_dir={tmp_path}"))
