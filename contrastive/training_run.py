"""Train a dual encoder (CLIP) on image-text pairs, or heads over two frozen towers.

The work behind `python -m contrastive.train`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig

from common.config import plain
from common.registry import look_up
from contrastive.from_scratch import clap_from_scratch, clip_from_scratch
from contrastive.heads_over_towers import heads_over_towers
from contrastive.manifest import write_manifest
from contrastive.task import ContrastiveTask, measure
from embedding_space.splits import refuse_held_out
from embedding_space.tables import read_tables
from training.loop import Loop, LoopConfig
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker

KINDS = {"clip": clip_from_scratch, "clap": clap_from_scratch, "heads": heads_over_towers}


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/contrastive.yaml` says; returns the validation metrics.

    They are the last evaluation's, or those of the weights that `loop.keep` chose.
    """
    make_setup = look_up(config.model.kind, KINDS, "kind of model", "model.kind")
    tables = read_tables(Path(config.dataset.root))
    refuse_held_out("dataset.pairs_split", config.dataset.pairs_split)
    state = open_run(config.output_dir, config, config.overwrite, {"tables": tables.hash})
    manifest = Path(config.output_dir) / "manifest.json"
    if state == "new":
        manifest.unlink(missing_ok=True)  # of the weights that this run replaces
    if state == "finished" and manifest.exists():
        return reuse_run(config.output_dir)
    loop_config = LoopConfig(**plain(config.loop), seed=config.seed)
    if loop_config.gradient_accumulation != 1:
        raise ValueError(
            f"loop.gradient_accumulation={loop_config.gradient_accumulation}: the contrastive loss compares all pairs "
            "of a batch, so micro-batches would change it; leave it at 1"
        )
    loop = Loop(loop_config, config.output_dir, Tracker(**config.tracker))
    setup = make_setup(config, tables, loop)
    task = ContrastiveTask(
        setup.pairs(config.dataset.pairs_split),
        setup.pairs(config.validation_split),
        batch_size=loop_config.batch_size,
        seed=config.seed,
        save=setup.save,
        ranks=(loop.accelerator.process_index, loop.accelerator.num_processes),
    )
    report_pairs = setup.pairs(config.report_split) if config.report_split else None
    if state == "finished":  # and interrupted before its manifest
        metrics = reuse_run(config.output_dir)
    else:
        metrics = loop.fit(setup.model, task, resume=state == "unfinished")
    if loop.accelerator.is_main_process:
        report, chosen = None, loop_config.keep != "last"
        if chosen or report_pairs:
            kept = setup.load(Path(config.output_dir)).to(loop.device).eval()
            with torch.no_grad():
                if chosen:  # other weights than those of the last evaluation, perhaps
                    metrics = {**metrics, **measure(kept, task.validation)}
                report = measure(kept, report_pairs) if report_pairs else None
        if report:
            print(f"{config.report_split}: {', '.join(f'{name} {value:.3f}' for name, value in report.items())}")
        reached = {name: value for name, value in metrics.items() if isinstance(value, float) and name != "seconds"}
        write_manifest(Path(config.output_dir) / setup.weights, config, tables.hash, reached, report)
    return metrics
