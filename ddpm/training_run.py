"""Train a diffusion model of a data set's text embeddings, or of its image embeddings.

The work behind `python -m ddpm.train`.
"""

from __future__ import annotations

import math

import torch
from omegaconf import DictConfig
from torch import Tensor

from alignment.chain import Alignment
from alignment.options import step_entries
from alignment.steps import BASIC_STEPS
from common.hints import warn_of_text_split
from common.plain import plain
from common.randomness import evenly_spaced, without
from ddpm.diffusion import TextDiffusion
from ddpm.task import DiffusionTask
from embedding_space.store import EmbeddingStore
from training.batches import EpochOrder
from training.loop import Loop, LoopConfig
from training.run_folder import open_run, reuse_run
from training.tracking import Tracker


def _no_noise(rows: Tensor) -> Tensor:
    raise ValueError("The prefix must not draw noise, since the diffusion model adds its own: correct the list prefix")


def train(config: DictConfig) -> dict[str, float]:
    """Train as `configs/ddpm.yaml` says; returns the validation metrics of the last evaluation."""
    store = EmbeddingStore(config.store, config.corpus_captions, config.modality)
    if config.modality == "texts":
        warn_of_text_split(store.path, store.text_split, config.dataset.text_split)
    if config.diffusion.embed_scale == "sqrt_dim":  # files record the number
        config.diffusion.embed_scale = math.sqrt(store.dim)
    config.prefix = step_entries({"steps": config.prefix}, BASIC_STEPS)
    options = plain(config)
    prefix = Alignment.from_store(options["prefix"], BASIC_STEPS, store)
    torch.manual_seed(config.seed)
    model = TextDiffusion(
        dim=store.dim,
        denoiser=options["denoiser"],
        prefix=prefix.options(),
        modality=config.modality,
        **options["diffusion"],
    )
    model.prefix.load_state_dict(prefix.state_dict())
    state = open_run(config.output_dir, config, config.overwrite, {"store": store.hash})
    if state == "finished":
        return reuse_run(config.output_dir)
    loop_config = LoopConfig(**options["loop"], seed=config.seed)
    loop = Loop(loop_config, config.output_dir, Tracker(**options["tracker"]))
    rows, validation_rows = (
        part.to(loop.device) for part in _rows(store, config.validation_split, config.validation_rows)
    )
    prefix.to(loop.device)
    order = EpochOrder(len(rows), loop_config.batch_size, config.seed)
    task = DiffusionTask(
        rows, validation_rows, order, model.timesteps, prepare=lambda part: prefix.training_side(part, _no_noise)
    )
    return loop.fit(model, task, resume=state == "unfinished")


def _rows(store: EmbeddingStore, validation_split: str | None, count: int) -> tuple[Tensor, Tensor]:
    """Training rows (M, D) and at most `count` validation rows, evenly spaced in their split, in float16 as stored.

    Without a validation split, the validation rows are held out of the training rows.
    """
    rows = store.training_rows(store.training_split, torch.float16)
    validation = rows if validation_split is None else store.training_rows(validation_split, torch.float16)
    if count < 1 or (validation_split is None and count >= len(rows)):
        raise ValueError(
            f"validation_rows={count} must be at least 1 and, with validation_split=null, below the {len(rows)} "
            f"{store.training_modality}: hold out a tenth of them, such as validation_rows={max(1, len(rows) // 10)}"
        )
    chosen = evenly_spaced(len(validation), count)
    return rows if validation_split else rows[without(len(rows), chosen)], validation[chosen]
