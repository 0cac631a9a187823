"""Train the detector of what a picture of the demo world shows.

The work behind `python -m demo_world.train`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from common.files import file_sha256, write_json
from common.plain import plain
from common.provenance import run_facts
from demo_world.detector import Detector
from demo_world.detector_metrics import measure_sights
from demo_world.labeled_scenes import LabeledScenes, draw_scenes
from demo_world.object_recall import OBJECT_METRICS, judge_captions
from demo_world.sprites import LICENSE, PINNED, require_packages
from demo_world.task import Augmentation, DetectorTask
from demo_world.world import world_hash
from training.batches import EpochOrder
from training.loop import Loop, LoopConfig
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/demo_world.yaml` says; returns the validation metrics of the last evaluation."""
    require_packages()
    if config.world_seed == config.report_seed:
        raise ValueError(
            f"world_seed={config.world_seed} is report_seed, too: the detector must not know scenes of the world that "
            "it judges; draw it another one"
        )
    options, folder = plain(config), Path(config.output_dir)
    torch.manual_seed(config.seed)
    # Convolutions are faster when channels are the innermost dimension.
    model = Detector(**options["detector"]).to(memory_format=torch.channels_last)
    drawn_from = world_hash(config.world_seed)
    state = open_run(folder, config, config.overwrite, {"world": drawn_from})
    manifest = folder / "manifest.json"
    if state == "new":
        manifest.unlink(missing_ok=True)  # of the weights that this run replaces
    if state == "finished" and manifest.exists():
        return reuse_run(folder)
    loop_config = LoopConfig(**options["loop"], seed=config.seed)
    loop = Loop(loop_config, folder, Tracker(**options["tracker"]))
    if state == "finished":  # and interrupted before its manifest
        metrics = reuse_run(folder)
    else:
        train_scenes, validation_scenes = (
            _drawn(config, config.world_seed, split, count, loop.device, config.misplaced)
            for split, count in (("pretrain", config.training_scenes), ("val", config.validation_scenes))
        )
        order = EpochOrder(len(train_scenes), loop_config.batch_size, config.seed)
        task = DetectorTask(train_scenes, validation_scenes, Augmentation(**options["augmentation"]), order)
        metrics = loop.fit(model, task, resume=state == "unfinished")
    if loop.accelerator.is_main_process:
        _write_manifest(config, folder, drawn_from, metrics, _report(config, folder, loop.device))
    return metrics


def _drawn(
    config: DictConfig, seed: int, split: str, count: int, device: torch.device, misplaced: float = 0.0
) -> LabeledScenes:
    scenes = draw_scenes(seed, split, count, config.detector.image_size, misplaced, progress=True)
    return replace(scenes, pictures=scenes.pictures.to(device))


def _report(config: DictConfig, folder: Path, device: torch.device) -> dict[str, Any]:
    """Metrics of the written weights on the demo's test scenes, on as many misplaced ones, and of the former's first
    captions."""
    detector = Detector.load(folder).to(device)
    usual, misplaced = (
        _drawn(config, config.report_seed, "test", config.report_scenes, device, share) for share in (0.0, 1.0)
    )
    threshold, sights = detector.threshold.item(), detector.look(usual.pictures)
    judged = judge_captions(sights, threshold, [captions[0] for captions in usual.captions])
    report = {
        "report_metrics": asdict(measure_sights(sights, usual, threshold)),
        "report_misplaced": asdict(measure_sights(detector.look(misplaced.pictures), misplaced, threshold)),
        "report_captions": {name: judged.values[name].nanmean().item() for name in OBJECT_METRICS},
    }
    for what, values in report.items():
        print(f"{what}: " + ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items()))
    return {"threshold": threshold, **report}


def _write_manifest(config: DictConfig, folder: Path, drawn_from: str, metrics: dict, report: dict) -> None:
    reached = {name: value for name, value in metrics.items() if isinstance(value, float) and name != "seconds"}
    manifest = {
        **run_facts(),
        "seed": config.seed,
        "world_seed": config.world_seed,
        "world_hash": drawn_from,
        "packages": PINNED,
        "training_scenes": config.training_scenes,
        "validation_scenes": config.validation_scenes,
        "misplaced": config.misplaced,
        "metrics": reached,
        "report_split": f"test, {config.report_scenes} scenes of the world of seed {config.report_seed}",
        **report,
        "license": LICENSE,
        "sha256": file_sha256(folder / "model.safetensors"),
    }
    write_json(folder / "manifest.json", manifest)
